{{/* A pool with what it does not say taken from the defaults: (list root pool). Two levels deep, so
that `scaling.maxReplicas` alone can be given; a false or a 0 counts, which `merge` would pass over. */}}
{{- define "dm.pool" -}}
{{- $pool := deepCopy (index . 0).Values.workers.defaults -}}
{{- range $key, $value := index . 1 -}}
{{- if and (kindIs "map" $value) (kindIs "map" (index $pool $key)) (has $key (list "scaling" "resources" "scratch" "gpu" "image" "podDisruptionBudget")) -}}
{{- $inner := index $pool $key -}}
{{- range $name, $one := $value -}}
{{- $_ := set $inner $name $one -}}
{{- end -}}
{{- else -}}
{{- $_ := set $pool $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $pool -}}
{{- end -}}

{{/* Which image a pool runs: (list root pool). */}}
{{- define "dm.poolImage" -}}
{{- $images := (index . 0).Values.images -}}
{{- $pool := index . 1 -}}
{{- $image := deepCopy (ternary $images.workerGpu $images.worker (gt (int $pool.gpu.count) 0)) -}}
{{- if $pool.image.repository -}}
{{- $image = dict "repository" $pool.image.repository "tag" $pool.image.tag "digest" $pool.image.digest "registry" $pool.image.registry "pullPolicy" $image.pullPolicy -}}
{{- else -}}
{{- if $pool.image.registry -}}{{- $_ := set $image "registry" $pool.image.registry -}}{{- end -}}
{{- if $pool.image.tag -}}{{- $_ := set $image "tag" $pool.image.tag -}}{{- $_ := set $image "digest" "" -}}{{- end -}}
{{- if $pool.image.digest -}}{{- $_ := set $image "digest" $pool.image.digest -}}{{- end -}}
{{- end -}}
{{- toYaml $image -}}
{{- end -}}

{{/* Taints that a pool tolerates, its own and those that follow from what it is. */}}
{{- define "dm.poolTolerations" -}}
{{- $found := .tolerations -}}
{{- if gt (int .gpu.count) 0 -}}
{{- $taint := .gpu.resourceName -}}
{{- if hasPrefix "nvidia.com/" $taint -}}{{- $taint = "nvidia.com/gpu" -}}{{- end -}}
{{- $found = append $found (dict "key" $taint "operator" "Exists" "effect" "NoSchedule") -}}
{{- end -}}
{{- if .spot -}}
{{- range list "cloud.google.com/gke-spot" "cloud.google.com/gke-preemptible" "kubernetes.azure.com/scalesetpriority" "eks.amazonaws.com/capacityType" "karpenter.sh/capacity-type" "node.kubernetes.io/lifecycle" -}}
{{- $found = append $found (dict "key" . "operator" "Exists" "effect" "NoSchedule") -}}
{{- end -}}
{{- end -}}
{{- if $found -}}{{- toYaml $found -}}{{- end -}}
{{- end -}}

{{/* Annotations of its Deployment by which the operator scales it, this one alone: (list root pool). */}}
{{- define "dm.poolAnnotations" -}}
{{- $root := index . 0 -}}
{{- with index . 1 -}}
data-miner.io/operator: {{ $root.Release.Namespace }}/{{ include "dm.fullname" $root }}-operator
data-miner.io/stages: {{ .stages | quote }}
data-miner.io/slots: {{ .slots | int | quote }}
{{- range $name, $value := .scaling }}
data-miner.io/{{ kebabcase $name }}: {{ kindIs "string" $value | ternary $value (int $value) | quote }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Variables of a worker's container: (list root pool). */}}
{{- define "dm.workerEnv" -}}
{{- $root := index . 0 -}}
{{- $pool := index . 1 -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- include "dm.sharedEnv" $root | nindent 0 }}
{{- include "dm.tracingEnv" $root }}
{{- if eq $root.Values.storage.mode "pvc" }}
{{- include "dm.modelsBucketEnv" $root }}
{{- else }}
{{- include "dm.bucketEnv" $root }}
{{- end }}
{{- include "dm.cacheEnv" $root }}
- name: DATA_MINER_CREDENTIALS_DIR
  value: /etc/data-miner/credentials
- name: DATA_MINER_WAIT_WHEN_DRAINED
  value: "1"
- name: DATA_MINER_GRACE_SECONDS
  value: {{ int $pool.graceSeconds | quote }}
- name: DATA_MINER_TASK_MEMORY_MB
  value: {{ int $pool.taskMemoryMb | quote }}
- name: DATA_MINER_PROVIDER
  value: {{ $pool.provider | default (ternary "cuda" "cpu" (gt (int $pool.gpu.count) 0)) }}
{{- end -}}

{{/* Ends with one line when a variable of the user's is there already: (list where own extra). The API
server would take one of the two. */}}
{{- define "dm.onlyNew" -}}
{{- $where := index . 0 -}}
{{- $names := list -}}
{{- range index . 1 | fromYamlArray -}}{{- $names = append $names .name -}}{{- end -}}
{{- range index . 2 -}}
{{- if has .name $names -}}
{{- fail (printf "%s: %s is set by the chart, or is there twice" $where .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- end -}}
