{{/* What the operator may do: the table of operator/data_miner_operator/rbac.py, as YAML. A test compares
what the chart renders with it. */}}

{{- define "dm.rules.projects" }}
# Deletes what has outlived its ttlSecondsAfterFinished.
- apiGroups: [data-miner.io]
  resources: [miningprojects]
  verbs: [get, list, watch, delete]
- apiGroups: [data-miner.io]
  resources: [miningprojects/status]
  verbs: [get, patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{- define "dm.rules.pools" }}
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [get, patch, update]
# Patches the deletion cost of pods that shall go first; reads the last words of a Job's.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
{{- end }}

{{- define "dm.rules.own" }}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, create, update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create]
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [get, list]
# Its own UID tells this installation from others.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
  resourceNames: [{{ .Release.Namespace | quote }}]
{{- end }}

{{/* Where pools are and no projects: their Events too. */}}
{{- define "dm.rules.events" }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
