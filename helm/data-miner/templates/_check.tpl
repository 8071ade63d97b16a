{{/* What the schema cannot say: values that do not go together. Each ends in one line for a person. */}}
{{- define "dm.check" -}}
{{- $v := .Values -}}
{{- if and (eq $v.database.mode "external") (not $v.database.external.existingSecret) -}}
{{- fail "database.mode=external: name the Secret with its URL, or with user and password, in database.external.existingSecret" -}}
{{- end -}}
{{- if and (eq $v.database.mode "cnpg") $v.database.cnpg.create (not (.Capabilities.APIVersions.Has "postgresql.cnpg.io/v1")) -}}
{{- fail "database.mode=cnpg: the cluster does not know postgresql.cnpg.io/v1; install the CloudNativePG operator first" -}}
{{- end -}}
{{- if and (eq $v.storage.mode "s3") (not $v.storage.s3.uri) -}}
{{- fail "storage.mode=s3: name the bucket in storage.s3.uri, as s3://bucket/prefix" -}}
{{- end -}}
{{- if and $v.storage.allowedPrefixes (not $v.storage.restrictUris) -}}
{{- fail "storage.allowedPrefixes means nothing with storage.restrictUris=false: leave one of them out" -}}
{{- end -}}
{{- if and (eq $v.models.source "claim") (not $v.models.claim.existingClaim) -}}
{{- fail "models.source=claim: name the claim in models.claim.existingClaim" -}}
{{- end -}}
{{- if and (eq $v.models.source "image") (not $v.models.image.reference) -}}
{{- fail "models.source=image: name the image in models.image.reference" -}}
{{- end -}}
{{- if and (eq $v.models.source "image") (semverCompare "<1.33.0-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "models.source=image: image volumes need Kubernetes 1.33, and this is %s; use models.source=claim" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- if and $v.models.claim.pull (ne $v.models.source "claim") -}}
{{- fail "models.claim.pull is for models.source=claim: bundled models and those of an image are on the node already, and those of a store are pulled in any case" -}}
{{- end -}}
{{- if eq $v.models.source "store" -}}
{{- if and (eq $v.storage.mode "pvc") (not $v.models.store.uri) -}}
{{- fail "models.source=store: storage.mode=pvc has no bucket; name one in models.store.uri, as s3://bucket/prefix, or use models.source=claim with a volume" -}}
{{- end -}}
{{- if and (eq $v.storage.mode "embedded") (or $v.models.store.uri $v.models.store.existingSecret) -}}
{{- fail "models.store: storage.mode=embedded has one bucket and one account; leave uri and existingSecret empty" -}}
{{- end -}}
{{- if and (ne $v.storage.mode "pvc") (or $v.models.store.endpoint (ne $v.models.store.region "us-east-1")) -}}
{{- fail "models.store.endpoint and region are for storage.mode=pvc: a worker knows one server of buckets, that of its storage" -}}
{{- end -}}
{{- end -}}
{{- if and $v.models.export.enabled (not (has $v.models.source (list "store" "claim"))) -}}
{{- fail (printf "models.export.enabled: nothing can be written where models.source=%s has them; use models.source=store or claim" $v.models.source) -}}
{{- end -}}
{{- if and $v.backup.enabled (ne $v.database.mode "embedded") -}}
{{- fail "backup.enabled is for database.mode=embedded: an external database or CloudNativePG has its own backup" -}}
{{- end -}}
{{- if and $v.backup.enabled (gt (len $v.database.name) 46) -}}
{{- fail "database.name: with backup.enabled at most 46 letters, for what a restore sets aside has them and its time in its name, and PostgreSQL cuts names at 63" -}}
{{- end -}}
{{- include "dm.checkLabels" (list "operator.podLabels" $v.operator.podLabels) -}}
{{- include "dm.checkLabels" (list "commonLabels" $v.commonLabels) -}}
{{- include "dm.checkAlone" . -}}
{{- $names := dict -}}
{{- range $v.credentials -}}
{{- if hasKey $names .name -}}
{{- fail (printf "credentials: %s is there twice" .name) -}}
{{- end -}}
{{- $_ := set $names .name true -}}
{{- $credential := . -}}
{{- range .pools | default list -}}
{{- if not (kindIs "map" (index $v.workers.pools .)) -}}
{{- fail (printf "credentials: %s is for pool %s, and there is no such pool in workers.pools" $credential.name .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $pools := 0 -}}
{{- range $name, $given := $v.workers.pools -}}
{{- if kindIs "map" $given -}}
{{- $pool := include "dm.pool" (list $ $given) | fromYaml -}}
{{- if $pool.enabled -}}
{{- $pools = add1 $pools -}}
{{- $where := printf "workers.pools.%s" $name -}}
{{- range list "minReplicas" "warmReplicas" -}}
{{- if gt (int (index $pool.scaling .)) (int $pool.scaling.maxReplicas) -}}
{{- fail (printf "%s.scaling: %s is %d, above maxReplicas, which is %d" $where . (int (index $pool.scaling .)) (int $pool.scaling.maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- if and (has $pool.provider (list "cuda" "tensorrt")) (eq (int $pool.gpu.count) 0) -}}
{{- fail (printf "%s.provider: %s runs on a GPU, and gpu.count is 0" $where $pool.provider) -}}
{{- end -}}
{{- if and (has $pool.provider (list "cpu" "openvino")) (gt (int $pool.gpu.count) 0) -}}
{{- fail (printf "%s.provider: %s runs on a CPU, and each pod would hold its GPUs for nothing; set gpu.count to 0" $where $pool.provider) -}}
{{- end -}}
{{- $volumes := list "scratch" "tmp" "shm" "models" "model-cache" "storage" -}}
{{- range $pool.extraVolumes -}}
{{- if or (has .name $volumes) (hasPrefix "credential-" .name) -}}
{{- fail (printf "%s.extraVolumes: %s is a volume of the chart, or is there twice" $where .name) -}}
{{- end -}}
{{- $volumes = append $volumes .name -}}
{{- end -}}
{{- include "dm.checkLabels" (list (printf "%s.podLabels" $where) $pool.podLabels) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Ends with one line when a label of the user's is one of the chart's: (list where labels). Selectors and
policies go by those. */}}
{{- define "dm.checkLabels" -}}
{{- $where := index . 0 -}}
{{- $own := list "name" "instance" "component" "part-of" "managed-by" "version" -}}
{{- range $key, $_ := index . 1 -}}
{{- $common := and (hasPrefix "app.kubernetes.io/" $key) (has (trimPrefix "app.kubernetes.io/" $key) $own) -}}
{{- if or $common (hasPrefix "data-miner.io/" $key) (eq $key "helm.sh/chart") -}}
{{- fail (printf "%s: %s is a label of the chart" $where $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Ends with one line when another release's operator serves a namespace that this one would serve: both
would write one project's status, each with a dataset of its own. Who makes objects of the whole cluster
may look everywhere; others look where they install. */}}
{{- define "dm.checkAlone" -}}
{{- $mine := .Values.operator.namespaces -}}
{{- $own := printf "%s/%s-operator" .Release.Namespace (include "dm.fullname" .) -}}
{{- $wide := or (not $mine) .Values.crds.enabled .Values.rbac.aggregate -}}
{{- $found := lookup "apps/v1" "Deployment" (ternary "" .Release.Namespace $wide) "" -}}
{{- range $found.items | default list -}}
{{- $labels := .metadata.labels | default dict -}}
{{- $name := printf "%s/%s" .metadata.namespace .metadata.name -}}
{{- $ours := and (eq (get $labels "app.kubernetes.io/part-of") "data-miner") (eq (get $labels "app.kubernetes.io/component") "operator") -}}
{{- if and $ours (ne $name $own) -}}
{{- $theirs := list -}}
{{- range (first .spec.template.spec.containers).env -}}
{{- if eq .name "DATA_MINER_OPERATOR_NAMESPACES" -}}{{- $theirs = splitList "," .value -}}{{- end -}}
{{- end -}}
{{- $both := list -}}
{{- range $mine -}}{{- if has . $theirs -}}{{- $both = append $both . -}}{{- end -}}{{- end -}}
{{- if or (not $mine) (not $theirs) $both -}}
{{- $what := $both | default $theirs | default (list "every namespace") | join ", " -}}
{{- fail (printf "operator.namespaces: the operator %s serves %s already, and a namespace has one operator; name the namespaces of each release in its operator.namespaces" $name $what) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
