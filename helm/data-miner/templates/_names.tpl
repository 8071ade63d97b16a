{{/* Names and labels. Pods carry only what selects them: another label would restart them. */}}

{{- define "dm.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 42 | trimSuffix "-" -}}
{{- end -}}

{{- define "dm.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- $name := include "dm.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 42 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 42 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods of a component: (list root component). */}}
{{- define "dm.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "dm.name" $root | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of an object of a component: (list root component). */}}
{{- define "dm.labels" -}}
{{- $root := index . 0 -}}
{{ include "dm.selector" . }}
app.kubernetes.io/part-of: data-miner
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "dm.operatorAccount" -}}
{{- default (printf "%s-operator" (include "dm.fullname" .)) .Values.serviceAccounts.operator.name -}}
{{- end -}}

{{- define "dm.workerAccount" -}}
{{- default (printf "%s-worker" (include "dm.fullname" .)) .Values.serviceAccounts.worker.name -}}
{{- end -}}

{{/* Reference of an image: (list root image). The digest counts before the tag. */}}
{{- define "dm.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $registry := default ($image.registry | default "") $root.Values.global.imageRegistry -}}
{{- $name := $image.repository -}}
{{- if $registry -}}{{- $name = printf "%s/%s" (trimSuffix "/" $registry) $name -}}{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default $root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "dm.imagePullSecrets" -}}
{{- $names := list -}}
{{- range concat (.Values.global.imagePullSecrets | default list) .Values.imagePullSecrets -}}
{{- if kindIs "map" . -}}{{- $names = append $names .name -}}{{- else -}}{{- $names = append $names . -}}{{- end -}}
{{- end -}}
{{- with uniq $names }}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Class for pods: (list root own kind), where kind is control, workers, or nothing for no class of the
chart's. */}}
{{- define "dm.priorityClass" -}}
{{- $root := index . 0 -}}
{{- if index . 1 -}}
{{- index . 1 -}}
{{- else if and $root.Values.priorityClasses.create (index . 2) -}}
{{- printf "%s-%s-%s" $root.Release.Namespace (include "dm.fullname" $root) (index . 2) -}}
{{- end -}}
{{- end -}}

{{/* Where a pod goes: (list root values kind). */}}
{{- define "dm.place" -}}
{{- $values := index . 1 -}}
{{- with include "dm.priorityClass" (list (index . 0) $values.priorityClassName (index . 2)) }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
