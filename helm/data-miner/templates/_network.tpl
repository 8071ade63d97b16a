{{/* What pods may reach, as rules of a NetworkPolicy. */}}

{{- define "dm.egressDns" }}
{{- with .Values.networkPolicy.dnsPorts }}
- ports:
    {{- range . }}
    - {port: {{ . }}, protocol: UDP}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}
{{- end }}

{{- define "dm.egressDatabase" }}
{{- if eq .Values.database.mode "embedded" }}
- to:
    - podSelector:
        matchLabels: {{- include "dm.selector" (list . "database") | nindent 10 }}
  ports:
    - {port: 5432}
{{- else if eq .Values.database.mode "cnpg" }}
- to:
    - podSelector:
        matchLabels: {cnpg.io/cluster: {{ include "dm.cnpgCluster" . | quote }}}
  ports:
    - {port: 5432}
{{- else }}
- ports:
    - {port: {{ .Values.database.external.port }}}
  {{- with .Values.networkPolicy.databaseCidrs }}
  to:
    {{- range . }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "dm.egressApi" }}
- ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - {port: {{ . }}}
    {{- end }}
  {{- with .Values.networkPolicy.apiServerCidrs }}
  to:
    {{- range . }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  {{- end }}
{{- end }}

{{- define "dm.egressInternet" }}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        {{- $v4 := list }}{{ $v6 := list }}
        {{- range .Values.networkPolicy.workers.except }}
        {{- if contains ":" . }}{{ $v6 = append $v6 . }}{{ else }}{{ $v4 = append $v4 . }}{{ end }}
        {{- end }}
        {{- with $v4 }}
        except: {{ toJson . }}
        {{- end }}
    - ipBlock:
        cidr: "::/0"
        except: {{ toJson (uniq (concat (list "fc00::/7" "fe80::/10") $v6)) }}
  ports:
    {{- range .Values.networkPolicy.workers.ports }}
    - {port: {{ . }}}
    {{- end }}
{{- end }}

{{- define "dm.egressStore" }}
- to:
    - podSelector:
        matchLabels: {{- include "dm.selector" (list . "store") | nindent 10 }}
  ports:
    - {port: 7070}
{{- end }}

{{/* To the bucket of models, if they are in one. */}}
{{- define "dm.egressModels" }}
{{- if and (eq .Values.models.source "store") (eq .Values.storage.mode "embedded") }}
{{- include "dm.egressStore" . }}
{{- else if eq .Values.models.source "store" }}
{{- include "dm.egressModelsBeyond" . }}
{{- end }}
{{- end }}

{{/* To what is outside of the installation and has to do with models: a bucket, a hub. */}}
{{- define "dm.egressModelsBeyond" }}
{{- if .Values.networkPolicy.models.internet }}
{{- include "dm.egressInternet" . }}
{{- end }}
{{- with .Values.networkPolicy.models.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "dm.egressTraces" }}
{{- with .Values.tracing.endpoint }}
{{- $host := (urlParse .).host }}
{{- $port := ternary "443" "80" (hasPrefix "https:" .) }}
{{- with regexFind ":[0-9]+$" $host }}{{ $port = trimPrefix ":" . }}{{ end }}
- ports:
    - {port: {{ $port }}}
  {{- with $.Values.tracing.to }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "dm.ingressMetrics" }}
{{- with .Values.networkPolicy.metricsFrom }}
- from: {{- toYaml . | nindent 4 }}
  ports:
    - {port: metrics}
{{- end }}
{{- end }}
