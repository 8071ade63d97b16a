{{/* What the Job that brings the schema up to date is. No priority class of the chart's: before an upgrade
that makes them there is none. */}}
{{- define "dm.migrateJob" -}}
backoffLimit: 5
activeDeadlineSeconds: {{ int .Values.database.migration.activeDeadlineSeconds }}
template:
  metadata:
    labels: {{- include "dm.selector" (list . "migrate") | nindent 6 }}
  spec:
    {{- include "dm.podDefaults" . | nindent 4 }}
    automountServiceAccountToken: false
    restartPolicy: OnFailure
    securityContext: {{- include "dm.podSecurity" . | nindent 6 }}
    {{- include "dm.place" (list . (pick .Values.operator "nodeSelector" "tolerations" "affinity" "priorityClassName") "") | nindent 4 }}
    containers:
      - name: migrate
        image: {{ include "dm.image" (list . .Values.images.operator) }}
        imagePullPolicy: {{ .Values.images.operator.pullPolicy }}
        args: [db, upgrade, --wait-seconds, {{ int .Values.database.migration.waitSeconds | quote }}]
        env:
          - {name: HOME, value: /tmp}
          {{- include "dm.databaseEnv" . | nindent 10 }}
        resources: {{- toYaml .Values.database.migration.resources | nindent 10 }}
        securityContext: {{- include "dm.containerSecurity" . | nindent 10 }}
        volumeMounts:
          - {name: tmp, mountPath: /tmp}
    volumes:
      - {name: tmp, emptyDir: {sizeLimit: 100Mi}}
{{- end -}}
