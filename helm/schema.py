"""What the chart's values may be: types and bounds. What they mean stands in values.yaml.

`python helm/generate.py` makes values.schema.json of it. Whatever is not named here is refused.
"""

from __future__ import annotations

import re
from typing import Any, Final

Schema = dict[str, Any]

NAME: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
SUBDOMAIN: Final = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
POOL: Final = r"^[a-z]([-a-z0-9]{0,28}[a-z0-9])?$"
KEY: Final = r"^[-._a-zA-Z0-9]{1,253}$"
LABEL_KEY: Final = (
    r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
LABEL_VALUE: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"
QUANTITY: Final = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
CIDR: Final = r"^([0-9]{1,3}(\.[0-9]{1,3}){3}/([0-9]|[12][0-9]|3[0-2])|[0-9a-fA-F:]+/[0-9]{1,3})$"
S3_URI: Final = r"^(s3://[a-z0-9][-a-z0-9.]{1,61}[a-z0-9](/[^\s]*[^\s/])?)?$"
ENDPOINT: Final = r"^(https?://[^\s@]+)?$"
REGION: Final = r"^[a-z0-9-]+$"
DIGEST: Final = r"^(sha256:[0-9a-f]{64})?$"
STAGES: Final = (
    "discover", "download", "extract", "embed", "filter",
    "dedup_embed", "dedup", "cut", "detect", "export",
)  # fmt: skip
_STAGE: Final = "|".join(STAGES)
STAGES_PATTERN: Final = f"^(default|cpu|gpu|({_STAGE})(,({_STAGE}))*)$"

# camelCase of the fields of data_miner.settings.Settings that are nobody else's here.
SETTINGS: Final = (
    "leaseSeconds", "heartbeatSeconds", "pollSeconds", "backoffSeconds", "backoffMaxSeconds",
    "lostBackoffSeconds", "lostBackoffMaxSeconds", "maxAttempts", "maxLosses", "sweepSeconds",
    "rescueSeconds", "patienceSeconds", "stallFactor", "orphanSeconds", "tasksPerChild",
    "socketTimeoutSeconds", "allowPrivateAddresses", "firstWave",
)  # fmt: skip
# And of data_miner_operator.config.OperatorSettings.
OPERATOR_SETTINGS: Final = (
    "leaseSeconds", "leaseDeadlineSeconds", "leaseRetrySeconds", "workers", "resyncSeconds",
    "scaleSeconds", "stopSeconds",
)  # fmt: skip


def text(pattern: str = "", *, least: int = 0, **more: Any) -> Schema:
    found: Schema = {"type": "string"}
    if pattern:
        found["pattern"] = pattern
    if least:
        found["minLength"] = least
    return {**found, **more}


def or_empty(pattern: str) -> Schema:
    return text(f"^$|{pattern}")


def choice(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def whole(least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


def number() -> Schema:
    return {"type": "number", "minimum": 0}


def flag() -> Schema:
    return {"type": "boolean"}


def items(of: Schema, *, least: int = 0) -> Schema:
    found: Schema = {"type": "array", "items": of}
    return {**found, "minItems": least} if least else found


def mapping(of: Schema, names: str = "") -> Schema:
    found: Schema = {"type": "object", "additionalProperties": of}
    return {**found, "propertyNames": {"pattern": names}} if names else found


def fields(required: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    found: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name.rstrip("_"): schema for name, schema in properties.items()},
    }
    return {**found, "required": list(required)} if required else found


def ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def settings(prefix: str, names: tuple[str, ...]) -> Schema:
    """Numbers that become variables of the environment."""
    return fields(**{name: said(number(), prefix + variable(name)) for name in names})


def variable(name: str) -> str:
    """``leaseSeconds`` as LEASE_SECONDS."""
    return re.sub(r"(?=[A-Z])", "_", name).upper()


def kubernetes(what: str, **more: Any) -> Schema:
    """Anything that the API server takes there."""
    return {"type": "object", "description": f"{what}, as in Kubernetes.", **more}


def said(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


QUANTITIES: Final = ("cpu", "memory", "ephemeral-storage")
DEFS: Final[dict[str, Schema]] = {
    "quantity": {"type": ["string", "integer"], "pattern": QUANTITY, "minimum": 0},
    "labels": mapping(text(LABEL_VALUE), LABEL_KEY),
    "annotations": mapping(text(), LABEL_KEY),
    "nodeSelector": mapping(text(LABEL_VALUE), LABEL_KEY),
    "secretNames": items(
        {"anyOf": [text(SUBDOMAIN), fields(("name",), name=said(text(SUBDOMAIN), "Its name."))]}
    ),
    "tolerations": items(
        said(
            fields(
                key=said(text(), "Key of the taint; empty with Exists is every one."),
                operator=said(choice("Exists", "Equal"), "How the value is compared."),
                value=said(text(), "Value of the taint."),
                effect=said(
                    choice("NoSchedule", "PreferNoSchedule", "NoExecute"), "Effect of the taint."
                ),
                tolerationSeconds=said(whole(0, 10**9), "How long NoExecute is tolerated."),
            ),
            "A toleration, as in Kubernetes.",
        )
    ),
    "affinity": fields(
        nodeAffinity=kubernetes("Which nodes"),
        podAffinity=kubernetes("Near which pods"),
        podAntiAffinity=kubernetes("Far from which pods"),
    ),
    "spread": items(
        kubernetes(
            "A constraint",
            required=["maxSkew", "topologyKey", "whenUnsatisfiable"],
        )
    ),
    "env": items(
        said(
            {
                **fields(
                    ("name",),
                    name=said(text(r"^[A-Za-z_][A-Za-z0-9_]*$"), "Name of the variable."),
                    value=said(text(), "Its value. Nothing secret: that belongs into valueFrom."),
                    valueFrom=kubernetes("Where its value is", minProperties=1),
                ),
                "not": {"required": ["value", "valueFrom"]},
            },
            "A variable, as in Kubernetes.",
        )
    ),
    # What a container may use: a request for each kind, and a limit for memory, must be there.
    "resources": fields(
        ("requests", "limits"),
        requests=said(
            {
                **mapping(ref("quantity"), r"^[-a-z0-9./]+$"),
                "required": ["cpu", "memory"],
            },
            "What is kept free for it; cpu and memory must be there.",
        ),
        limits=said(
            {**mapping(ref("quantity"), r"^[-a-z0-9./]+$"), "required": ["memory"]},
            "What it may use at most; memory must be there.",
        ),
    ),
    "image": fields(
        registry=text(r"^([-a-zA-Z0-9._:/]*[a-zA-Z0-9])?$"),
        repository=text(r"^[a-z0-9]([-a-z0-9._/]*[a-z0-9])?$"),
        tag=text(r"^([A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?$"),
        digest=text(DIGEST),
        pullPolicy=choice("Always", "IfNotPresent", "Never"),
    ),
    "account": fields(create=flag(), name=or_empty(SUBDOMAIN), annotations=ref("annotations")),
    "credential": fields(
        ("name", "secretName"),
        name=said(text(NAME), "Name by which projects ask for it (download.secretRef)."),
        secretName=said(text(SUBDOMAIN), "Secret in the release's namespace; a file for each key."),
        namespaces=said(
            items(text(NAME)), "Namespaces whose projects may name it; empty is all of them."
        ),
        pools=said(items(text(POOL)), "Pools that get it; empty is all of them."),
    ),
}
PLACE: Final[dict[str, Schema]] = {
    "nodeSelector": ref("nodeSelector"),
    "tolerations": ref("tolerations"),
    "affinity": ref("affinity"),
    "priorityClassName": or_empty(SUBDOMAIN),
    "podAnnotations": ref("annotations"),
}
DEFS["pool"] = fields(
    enabled=flag(),
    stages=text(STAGES_PATTERN),
    slots=whole(1, 64),
    scaling=fields(
        minReplicas=whole(0, 1000),
        maxReplicas=whole(0, 1000),
        warmReplicas=whole(0, 1000),
        targetDrainSeconds=whole(10, 86400),
        scaleDownStabilizationSeconds=whole(0, 86400),
        stepSeconds=whole(1, 3600),
        idleSeconds=whole(0, 86400),
        drainTimeoutSeconds=whole(0, 86400),
        unschedulableSeconds=whole(0, 86400),
        autoscaler=choice("operator", "hpa", "keda", "none"),
    ),
    resources={**DEFS["resources"], "required": []},
    taskMemoryMb=whole(0, 10**7),
    graceSeconds=whole(1, 3600),
    scratch=fields(sizeLimit=ref("quantity"), storageClass=or_empty(SUBDOMAIN)),
    sharedMemory=ref("quantity"),
    gpu=fields(
        count=whole(0, 64),
        resourceName=text(
            r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
        ),
    ),
    provider=choice("", "cpu", "cuda", "tensorrt", "openvino"),
    spot=flag(),
    image=fields(
        registry=text(r"^([-a-zA-Z0-9._:/]*[a-zA-Z0-9])?$"),
        repository=text(r"^([a-z0-9]([-a-z0-9._/]*[a-z0-9])?)?$"),
        tag=text(r"^([A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?$"),
        digest=text(DIGEST),
    ),
    runtimeClassName=or_empty(SUBDOMAIN),
    **PLACE,
    topologySpreadConstraints=ref("spread"),
    podLabels=ref("labels"),
    extraEnv=ref("env"),
    extraVolumes=items(kubernetes("A volume", required=["name"])),
    extraVolumeMounts=items(kubernetes("A mount", required=["name", "mountPath"])),
    podDisruptionBudget=fields(enabled=flag()),
)
MONITOR: Final[dict[str, Schema]] = {
    "enabled": flag(),
    "interval": text(r"^[0-9]+(ms|s|m)$"),
    "labels": ref("labels"),
}
STORAGE_CLASS: Final = or_empty(SUBDOMAIN)

VALUES: Final = {
    **fields(
        # Charts above this one share `global`: what is not ours in it is left alone.
        global_={
            "type": "object",
            "properties": {
                "imageRegistry": text(r"^([-a-zA-Z0-9._:/]*[a-zA-Z0-9])?$"),
                "imagePullSecrets": ref("secretNames"),
            },
        },
        nameOverride=text(r"^([a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?)?$"),
        fullnameOverride=text(r"^([a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?)?$"),
        commonLabels=ref("labels"),
        imagePullSecrets=ref("secretNames"),
        images=fields(
            operator=ref("image"),
            worker=ref("image"),
            workerGpu=ref("image"),
            export=ref("image"),
            postgres=ref("image"),
            s3=ref("image"),
        ),
        security=fields(
            runAsUser=whole(1, 2**31 - 1),
            runAsGroup=whole(1, 2**31 - 1),
            fsGroup=whole(1, 2**31 - 1),
        ),
        serviceAccounts=fields(operator=ref("account"), worker=ref("account")),
        rbac=fields(create=flag(), aggregate=flag()),
        crds=fields(enabled=flag(), keep=flag()),
        settings=settings("DATA_MINER_", SETTINGS),
        operator=fields(
            replicas=whole(0, 10),
            namespaces={**items(text(NAME)), "uniqueItems": True},
            folder=text("^/"),
            settings=settings("DATA_MINER_OPERATOR_", OPERATOR_SETTINGS),
            resources=ref("resources"),
            terminationGracePeriodSeconds=whole(1, 3600),
            **PLACE,
            topologySpreadConstraints=ref("spread"),
            podLabels=ref("labels"),
            extraEnv=ref("env"),
            podDisruptionBudget=fields(enabled=flag()),
        ),
        workers=fields(
            defaults=ref("pool"),
            pools=mapping({"anyOf": [ref("pool"), {"type": "null"}]}, POOL),
        ),
        credentials=items(ref("credential")),
        database=fields(
            mode=choice("embedded", "external", "cnpg"),
            name=text(r"^[a-z_][a-z0-9_]{0,62}$"),
            embedded=fields(
                existingSecret=or_empty(SUBDOMAIN),
                passwordKey=text(KEY),
                size=ref("quantity"),
                storageClass=STORAGE_CLASS,
                runAsUser=whole(1, 2**31 - 1),
                runAsGroup=whole(1, 2**31 - 1),
                maxConnections=whole(10, 10000),
                parameters=mapping(
                    {"type": ["string", "number", "boolean"]}, r"^[a-z][a-z0-9_.]*$"
                ),
                resources=ref("resources"),
                **PLACE,
            ),
            external=fields(
                ("port",),
                existingSecret=or_empty(SUBDOMAIN),
                urlKey=text(KEY),
                listenUrlKey=text(r"^[-._a-zA-Z0-9]{0,253}$"),
                host=text(r"^[-a-zA-Z0-9._:\[\]]*$"),
                port=whole(1, 65535),
                userKey=text(KEY),
                passwordKey=text(KEY),
                sslMode=choice("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
            ),
            cnpg=fields(
                create=flag(),
                clusterName=or_empty(r"^[a-z]([-a-z0-9]{0,48}[a-z0-9])?$"),
                instances=whole(1, 9),
                size=ref("quantity"),
                storageClass=STORAGE_CLASS,
                imageName=text(),
                resources=ref("resources"),
            ),
            migration=fields(
                activeDeadlineSeconds=whole(10, 86400),
                waitSeconds=whole(1, 3600),
                resources=ref("resources"),
            ),
        ),
        storage=fields(
            mode=choice("embedded", "pvc", "s3"),
            restrictUris=flag(),
            allowedPrefixes={
                **items(text(r"^(/|file:///|[a-z][a-z0-9]*://)[^\s]*$")),
                "uniqueItems": True,
            },
            embedded=fields(
                size=ref("quantity"),
                storageClass=STORAGE_CLASS,
                bucket=text(r"^[a-z0-9][-a-z0-9.]{1,61}[a-z0-9]$"),
                existingSecret=or_empty(SUBDOMAIN),
                resources=ref("resources"),
                **PLACE,
            ),
            pvc=fields(
                existingClaim=or_empty(SUBDOMAIN),
                size=ref("quantity"),
                storageClass=STORAGE_CLASS,
                accessMode=choice("ReadWriteMany", "ReadWriteOnce"),
            ),
            s3=fields(
                uri=text(S3_URI),
                existingSecret=or_empty(SUBDOMAIN),
                endpoint=text(ENDPOINT),
                region=text(REGION),
            ),
        ),
        models=fields(
            source=choice("bundled", "store", "claim", "image"),
            store=fields(
                uri=text(S3_URI),
                existingSecret=or_empty(SUBDOMAIN),
                endpoint=text(ENDPOINT),
                region=text(REGION),
            ),
            claim=fields(
                existingClaim=or_empty(SUBDOMAIN), subPath=text(r"^([^/].*)?$"), pull=flag()
            ),
            image=fields(
                reference=text(),
                pullPolicy=choice("Always", "IfNotPresent", "Never"),
                subPath=text(r"^([^/].*)?$"),
            ),
            cache=fields(sizeLimit=ref("quantity"), volume={"type": "object", "maxProperties": 1}),
            export=fields(
                enabled=flag(),
                tokenSecret=or_empty(SUBDOMAIN),
                tokenKey=text(KEY),
                acceptLicences={**items(text(r"^\S.{0,99}$")), "uniqueItems": True},
                retrySeconds=whole(10, 86400),
                activeDeadlineSeconds=whole(60, 86400),
                resources=ref("resources"),
                scratch=fields(sizeLimit=ref("quantity"), existingClaim=or_empty(SUBDOMAIN)),
                extraEnv=ref("env"),
                **PLACE,
            ),
        ),
        # A rule without ports would be a rule for all of them.
        networkPolicy=fields(
            ("dnsPorts", "apiServerPorts"),
            enabled=flag(),
            metricsFrom=items(kubernetes("A peer")),
            dnsPorts=items(whole(1, 65535)),
            apiServerPorts=items(whole(1, 65535), least=1),
            apiServerCidrs=items(text(CIDR)),
            databaseCidrs=items(text(CIDR)),
            workers=fields(
                ("ports",),
                internet=flag(),
                ports=items(whole(1, 65535), least=1),
                except_=items(text(CIDR)),
                extraEgress=items(kubernetes("A rule")),
            ),
            models=fields(internet=flag(), extraEgress=items(kubernetes("A rule"))),
        ),
        monitoring=fields(
            podMonitor=fields(**MONITOR),
            serviceMonitor=fields(**MONITOR),
            prometheusRule=fields(
                enabled=flag(), labels=ref("labels"), runbookUrl=text(r"^(https?://[^\s]+)?$")
            ),
            dashboards=fields(enabled=flag(), labels=ref("labels"), annotations=ref("annotations")),
        ),
        tracing=fields(
            endpoint=text(r"^(https?://[^\s@/]+(/[^\s@]*)?)?$"),
            ratio={"type": "number", "minimum": 0, "maximum": 1},
            headersSecret=or_empty(SUBDOMAIN),
            headersKey=text(KEY),
            to=items(kubernetes("A peer")),
        ),
        priorityClasses=fields(
            create=flag(),
            control=whole(-(10**9), 10**9),
            workers=whole(-(10**9), 10**9),
        ),
        backup=fields(
            enabled=flag(),
            schedule=text(r"^(@(yearly|monthly|weekly|daily|hourly)|\S+( \S+){4})$"),
            timeZone=text(r"^[A-Za-z0-9_+/-]+$"),
            keepDays=whole(1, 3650),
            existingClaim=or_empty(SUBDOMAIN),
            size=ref("quantity"),
            storageClass=STORAGE_CLASS,
            activeDeadlineSeconds=whole(60, 86400),
            resources=ref("resources"),
        ),
        tests=fields(enabled=flag(), timeoutSeconds=whole(10, 86400), resources=ref("resources")),
        extraObjects=items(kubernetes("An object", required=["apiVersion", "kind", "metadata"])),
    ),
}
