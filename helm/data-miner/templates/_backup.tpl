{{/* What a Job that dumps or restores is: (list root what), where what is backup or restore. */}}
{{- define "dm.backupJob" -}}
{{- $root := index . 0 -}}
{{- $what := index . 1 -}}
{{- $name := printf "%s-backup" (include "dm.fullname" $root) -}}
backoffLimit: {{ ternary 1 0 (eq $what "backup") }}
activeDeadlineSeconds: {{ int $root.Values.backup.activeDeadlineSeconds }}
template:
  metadata:
    labels: {{- include "dm.selector" (list $root "backup") | nindent 6 }}
  spec:
    {{- include "dm.podDefaults" $root | nindent 4 }}
    automountServiceAccountToken: false
    restartPolicy: Never
    securityContext: {{- include "dm.postgresSecurity" $root | nindent 6 }}
    {{- if eq $what "backup" }}
    initContainers:
      - name: wait-for-schema
        image: {{ include "dm.image" (list $root $root.Values.images.operator) }}
        imagePullPolicy: {{ $root.Values.images.operator.pullPolicy }}
        args: [db, wait]
        env:
          - {name: HOME, value: /tmp}
          {{- include "dm.databaseEnv" $root | nindent 10 }}
        resources:
          requests: {cpu: 10m, memory: 64Mi}
          limits: {memory: 256Mi}
        securityContext:
          runAsUser: {{ $root.Values.security.runAsUser }}
          {{- include "dm.containerSecurity" $root | nindent 10 }}
        volumeMounts:
          - {name: tmp, mountPath: /tmp}
    {{- end }}
    containers:
      - name: {{ $what }}
        image: {{ include "dm.image" (list $root $root.Values.images.postgres) }}
        imagePullPolicy: {{ $root.Values.images.postgres.pullPolicy }}
        command: [/bin/sh, /etc/data-miner/backup/{{ $what }}.sh]
        env:
          - {name: HOME, value: /tmp}
          - {name: PGHOST, value: {{ include "dm.fullname" $root }}-database}
          - {name: PGUSER, value: data_miner}
          - {name: PGDATABASE, value: {{ $root.Values.database.name | quote }}}
          - {name: DATABASE_NAME, value: {{ $root.Values.database.name | quote }}}
          - {name: BACKUPS, value: /backups}
          - name: PGPASSWORD
            valueFrom: {secretKeyRef: {name: {{ include "dm.databaseSecret" $root | quote }}, key: {{ $root.Values.database.embedded.passwordKey | quote }}}}
          - {name: KEEP_DAYS, value: {{ int $root.Values.backup.keepDays | quote }}}
        resources: {{- toYaml $root.Values.backup.resources | nindent 10 }}
        securityContext: {{- include "dm.containerSecurity" $root | nindent 10 }}
        volumeMounts:
          - {name: backups, mountPath: /backups}
          - {name: scripts, mountPath: /etc/data-miner/backup, readOnly: true}
          - {name: tmp, mountPath: /tmp}
    volumes:
      - {name: backups, persistentVolumeClaim: {claimName: {{ default $name $root.Values.backup.existingClaim | quote }}}}
      - {name: scripts, configMap: {name: {{ $name }}}}
      - {name: tmp, emptyDir: {sizeLimit: 100Mi}}
{{- end -}}
