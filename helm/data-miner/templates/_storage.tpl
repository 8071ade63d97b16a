{{/* What the Job that makes the folders of a shared volume is. */}}
{{- define "dm.storageJob" -}}
backoffLimit: 2
template:
  metadata:
    labels: {{- include "dm.selector" (list . "storage") | nindent 6 }}
  spec:
    {{- include "dm.podDefaults" . | nindent 4 }}
    automountServiceAccountToken: false
    restartPolicy: OnFailure
    securityContext: {{- include "dm.podSecurity" . | nindent 6 }}
    containers:
      - name: storage
        image: {{ include "dm.image" (list . .Values.images.operator) }}
        imagePullPolicy: {{ .Values.images.operator.pullPolicy }}
        command:
          - /opt/data-miner/venv/bin/python
          - -c
          - |
            from pathlib import Path
            # The last one is where a worker's own volume is mounted.
            for folder in ("store", "datasets", "videos", "scratch"):
                Path("/var/lib/data-miner", folder).mkdir(exist_ok=True)
        resources:
          requests: {cpu: 10m, memory: 32Mi}
          limits: {memory: 128Mi}
        securityContext: {{- include "dm.containerSecurity" . | nindent 10 }}
        volumeMounts:
          - {name: storage, mountPath: /var/lib/data-miner}
    volumes:
      - {name: storage, persistentVolumeClaim: {claimName: {{ include "dm.storageClaim" . | quote }}}}
{{- end -}}
