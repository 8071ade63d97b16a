{{/* What pods have in common. All of it passes Pod Security "restricted". */}}

{{- define "dm.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .Values.security.runAsUser }}
runAsGroup: {{ .Values.security.runAsGroup }}
fsGroup: {{ .Values.security.fsGroup }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "dm.postgresSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .Values.database.embedded.runAsUser }}
runAsGroup: {{ .Values.database.embedded.runAsGroup }}
fsGroup: {{ .Values.database.embedded.runAsGroup }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "dm.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Every program finds a home that it may write to, and is told nothing of the cluster's services. */}}
{{- define "dm.podDefaults" -}}
enableServiceLinks: false
{{- include "dm.imagePullSecrets" . }}
{{- end -}}

{{/* Where artifacts are, and where datasets go: a path or a URI. */}}
{{- define "dm.storageRoot" -}}
{{- if eq .Values.storage.mode "embedded" -}}
s3://{{ .Values.storage.embedded.bucket }}
{{- else if eq .Values.storage.mode "s3" -}}
{{ .Values.storage.s3.uri }}
{{- else -}}
/var/lib/data-miner
{{- end -}}
{{- end -}}

{{- define "dm.allowedPrefixes" -}}
{{- if .Values.storage.restrictUris -}}
{{- $root := include "dm.storageRoot" . -}}
{{- $own := list (printf "%s/datasets" $root) (printf "%s/videos" $root) .Values.operator.folder -}}
{{- join " " (uniq (concat $own .Values.storage.allowedPrefixes)) -}}
{{- end -}}
{{- end -}}

{{- define "dm.databaseSecret" -}}
{{- if eq .Values.database.mode "embedded" -}}
{{- default (printf "%s-database" (include "dm.fullname" .)) .Values.database.embedded.existingSecret -}}
{{- else if eq .Values.database.mode "cnpg" -}}
{{- printf "%s-app" (include "dm.cnpgCluster" .) -}}
{{- else -}}
{{- .Values.database.external.existingSecret -}}
{{- end -}}
{{- end -}}

{{- define "dm.cnpgCluster" -}}
{{- default (printf "%s-database" (include "dm.fullname" .)) .Values.database.cnpg.clusterName -}}
{{- end -}}

{{/* How PostgreSQL is reached. Where a host is known, user and password go beside the URL: nothing in
them needs to be escaped, and no URL holds a secret. */}}
{{- define "dm.databaseEnv" -}}
{{- $secret := include "dm.databaseSecret" . -}}
{{- $database := .Values.database -}}
{{- if eq $database.mode "embedded" }}
- name: PGUSER
  value: data_miner
- name: PGPASSWORD
  valueFrom: {secretKeyRef: {name: {{ $secret | quote }}, key: {{ $database.embedded.passwordKey | quote }}}}
- name: DATA_MINER_DATABASE_URL
  value: postgresql://{{ include "dm.fullname" . }}-database:5432/{{ $database.name }}
{{- else if eq $database.mode "cnpg" }}
- name: DATA_MINER_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ $secret | quote }}, key: uri}}
{{- else if $database.external.host }}
- name: PGUSER
  valueFrom: {secretKeyRef: {name: {{ $secret | quote }}, key: {{ $database.external.userKey | quote }}}}
- name: PGPASSWORD
  valueFrom: {secretKeyRef: {name: {{ $secret | quote }}, key: {{ $database.external.passwordKey | quote }}}}
- name: PGSSLMODE
  value: {{ $database.external.sslMode }}
- name: DATA_MINER_DATABASE_URL
  value: postgresql://{{ $database.external.host }}:{{ $database.external.port }}/{{ $database.name }}
{{- else }}
- name: DATA_MINER_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ $secret | quote }}, key: {{ $database.external.urlKey | quote }}}}
- name: PGSSLMODE
  value: {{ $database.external.sslMode }}
{{- end }}
{{- if and (eq $database.mode "external") $database.external.listenUrlKey }}
- name: DATA_MINER_DATABASE_LISTEN_URL
  valueFrom: {secretKeyRef: {name: {{ $secret | quote }}, key: {{ $database.external.listenUrlKey | quote }}}}
{{- end }}
{{- end -}}

{{/* DATA_MINER_* that operator and workers must have alike. */}}
{{- define "dm.sharedEnv" -}}
- name: HOME
  value: /tmp
- name: DATA_MINER_HOME
  value: /var/lib/data-miner
{{- include "dm.databaseEnv" . }}
- name: DATA_MINER_STORAGE_URI
  value: {{ include "dm.storageRoot" . }}/store
- name: DATA_MINER_DATASETS_URI
  value: {{ include "dm.storageRoot" . }}/datasets
{{- with include "dm.allowedPrefixes" . }}
- name: DATA_MINER_ALLOWED_PREFIXES
  value: {{ . }}
{{- end }}
{{- if include "dm.modelsPulled" . }}
- name: DATA_MINER_MODELS_URI
  value: {{ include "dm.modelsUri" . }}
{{- else if ne .Values.models.source "bundled" }}
- name: DATA_MINER_MODELS_DIRS
  value: /models
{{- end }}
{{- range $name, $value := .Values.settings }}
- name: DATA_MINER_{{ snakecase $name | upper }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end -}}

{{/* OpenTelemetry's own variables, where traces are wanted. */}}
{{- define "dm.tracingEnv" -}}
{{- with .Values.tracing }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .ratio | toString | quote }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ printf "service.namespace=%s,k8s.namespace.name=%s" (include "dm.fullname" $) $.Release.Namespace | quote }}
{{- if .headersSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom: {secretKeyRef: {name: {{ .headersSecret | quote }}, key: {{ .headersKey | quote }}}}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Where a bucket is, and who may use it: (dict "secret" "region" "endpoint"). */}}
{{- define "dm.awsEnv" }}
{{- if .secret }}
{{- $secret := .secret }}
{{- range list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
- name: {{ . | quote }}
  valueFrom: {secretKeyRef: {name: {{ $secret | quote }}, key: {{ . }}}}
{{- end }}
{{- end }}
- name: AWS_DEFAULT_REGION
  value: {{ .region | quote }}
{{- with .endpoint }}
- name: AWS_ENDPOINT_URL_S3
  value: {{ . }}
{{- end }}
{{- if .secret }}
- name: AWS_EC2_METADATA_DISABLED
  value: "true"
{{- end }}
{{- end }}

{{/* The bucket of the storage, if there is one. */}}
{{- define "dm.bucket" -}}
{{- if eq .Values.storage.mode "embedded" -}}
{{- dict "secret" (include "dm.storeSecret" .) "region" "us-east-1" "endpoint" (printf "http://%s-store:7070" (include "dm.fullname" .)) | toYaml -}}
{{- else if eq .Values.storage.mode "s3" -}}
{{- with .Values.storage.s3 -}}
{{- dict "secret" .existingSecret "region" .region "endpoint" .endpoint | toYaml -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "dm.bucketEnv" -}}
{{- with include "dm.bucket" . | fromYaml }}
{{- include "dm.awsEnv" . }}
{{- end }}
{{- end -}}

{{/* For whoever reads or writes the bucket of models and has nothing to do with that of the storage. */}}
{{- define "dm.modelsBucketEnv" -}}
{{- if eq .Values.models.source "store" }}
{{- $bucket := include "dm.bucket" . | fromYaml }}
{{- with .Values.models.store }}
{{- if not $bucket }}{{ $bucket = dict "region" .region "endpoint" .endpoint }}{{ end }}
{{- if .existingSecret }}{{ $_ := set $bucket "secret" .existingSecret }}{{ end }}
{{- end }}
{{- include "dm.awsEnv" $bucket }}
{{- end }}
{{- end -}}

{{/* Where models are that workers pull. */}}
{{- define "dm.modelsUri" -}}
{{- if eq .Values.models.source "claim" -}}
file:///models
{{- else -}}
{{- default (printf "%s/models" (include "dm.storageRoot" .)) .Values.models.store.uri -}}
{{- end -}}
{{- end -}}

{{/* Whether workers pull models. */}}
{{- define "dm.modelsPulled" -}}
{{- if or (eq .Values.models.source "store") (and (eq .Values.models.source "claim") .Values.models.claim.pull) -}}
true
{{- end -}}
{{- end -}}

{{/* What workers are told of their cache: where it is, and how much may lie there, in GB. A tenth of the volume is
left for what is on its way. */}}
{{- define "dm.cacheEnv" -}}
{{- if include "dm.modelsPulled" . }}
{{- $given := .Values.models.cache.sizeLimit | toString }}
{{- $unit := regexFind "[kKMGTP]?i?$" $given }}
{{- $factors := dict "" 1e-9 "k" 1e-6 "M" 1e-3 "G" 1.0 "T" 1e3 "P" 1e6 "Ki" 1.024e-6 "Mi" 1.048576e-3 "Gi" 1.073741824 "Ti" 1099.511627776 "Pi" 1125899.906842624 }}
- name: DATA_MINER_MODELS_CACHE_DIR
  value: /var/cache/data-miner/models
- name: DATA_MINER_MODELS_CACHE_GB
  value: {{ mulf 0.9 (trimSuffix $unit $given | float64) (index $factors $unit) | printf "%.3f" | quote }}
{{- end }}
{{- end -}}

{{/* Variables of the container that makes models. */}}
{{- define "dm.exportEnv" -}}
{{- $export := .Values.models.export -}}
- name: HOME
  value: /tmp
- name: HF_HOME
  value: /scratch/huggingface
- name: HF_HUB_DISABLE_PROGRESS_BARS
  value: "1"
- name: HF_HUB_DISABLE_TELEMETRY
  value: "1"
{{- if $export.tokenSecret }}
- name: HF_TOKEN
  valueFrom: {secretKeyRef: {name: {{ $export.tokenSecret | quote }}, key: {{ $export.tokenKey | quote }}}}
{{- end }}
{{- include "dm.modelsBucketEnv" . }}
{{- end -}}

{{- define "dm.storeSecret" -}}
{{- default (printf "%s-store" (include "dm.fullname" .)) .Values.storage.embedded.existingSecret -}}
{{- end -}}

{{- define "dm.storageClaim" -}}
{{- default (printf "%s-storage" (include "dm.fullname" .)) .Values.storage.pvc.existingClaim -}}
{{- end -}}

{{/* A volume called models, where there is one. */}}
{{- define "dm.modelsVolume" -}}
{{- if eq .Values.models.source "claim" }}
- name: models
  persistentVolumeClaim:
    claimName: {{ .Values.models.claim.existingClaim | quote }}
    {{- /* Where Jobs fill it, a folder in it (subPath) may still have to be made, by whoever mounts it first. */}}
    readOnly: {{ not .Values.models.export.enabled }}
{{- else if eq .Values.models.source "image" }}
- name: models
  image: {reference: {{ .Values.models.image.reference | quote }}, pullPolicy: {{ .Values.models.image.pullPolicy }}}
{{- end }}
{{- end -}}

{{- define "dm.modelsMount" -}}
{{- if has .Values.models.source (list "claim" "image") }}
- name: models
  mountPath: /models
  readOnly: true
{{- with ternary .Values.models.claim.subPath .Values.models.image.subPath (eq .Values.models.source "claim") }}
  subPath: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* A volume that lives as long as its pod: (list name size storageClass). */}}
{{- define "dm.scratchVolume" -}}
- name: {{ index . 0 }}
{{- if index . 2 }}
  ephemeral:
    volumeClaimTemplate:
      spec:
        accessModes: [ReadWriteOnce]
        storageClassName: {{ index . 2 | quote }}
        resources: {requests: {storage: {{ index . 1 }}}}
{{- else }}
  emptyDir: {sizeLimit: {{ index . 1 }}}
{{- end }}
{{- end -}}

{{/* The storage class of a claim; without one, the cluster's default. */}}
{{- define "dm.storageClass" -}}
{{- with . }}
storageClassName: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "dm.testHook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* Variables of the operator's container. */}}
{{- define "dm.operatorEnv" -}}
{{ include "dm.sharedEnv" . }}
{{- include "dm.tracingEnv" . }}
{{- include "dm.modelsBucketEnv" . }}
- name: DATA_MINER_OPERATOR_OWN_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: DATA_MINER_OPERATOR_LEASE_NAME
  value: {{ include "dm.fullname" . }}-operator
- name: DATA_MINER_OPERATOR_FOLDER
  value: {{ .Values.operator.folder }}
- name: DATA_MINER_OPERATOR_CREDENTIALS_FILE
  value: /etc/data-miner/credentials/names.yaml
{{- with .Values.operator.namespaces }}
- name: DATA_MINER_OPERATOR_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
{{- range $name, $value := .Values.operator.settings }}
- name: DATA_MINER_OPERATOR_{{ snakecase $name | upper }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end -}}
