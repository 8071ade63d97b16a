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
{{- $image = dict "repository" $pool.image.repository "tag" $pool.image.tag "digest" $pool.image.digest "registry" "" "pullPolicy" $image.pullPolicy -}}
{{- else -}}
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

{{/* Annotations of its Deployment by which the operator scales it. */}}
{{- define "dm.poolAnnotations" -}}
data-miner.io/stages: {{ .stages | quote }}
data-miner.io/slots: {{ .slots | int | quote }}
{{- range $name, $value := .scaling }}
data-miner.io/{{ kebabcase $name }}: {{ kindIs "string" $value | ternary $value (int $value) | quote }}
{{- end }}
{{- end -}}
