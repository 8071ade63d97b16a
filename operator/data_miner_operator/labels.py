"""Labels and annotations by which the operator finds what belongs to it."""

from __future__ import annotations

from typing import Final

MODEL: Final = "data-miner.io/model"
"""On Jobs that the operator has made: a digest of the model's name, which may be no label value."""
MODEL_NAME: Final = "data-miner.io/model-name"
"""Annotation of such a Job: the name itself."""
OPERATOR: Final = "data-miner.io/operator"
"""Annotation of pools, templates and their Jobs: the one operator that they are for, by its
namespace and Lease, as ``mining/data-miner-operator``. Absent: any that finds them."""
TEMPLATE: Final = "data-miner.io/template"
"""On the suspended CronJobs that Jobs are made from: what they make."""
INSTANTIATE: Final = "cronjob.kubernetes.io/instantiate"
"""Annotation that `kubectl create job --from` sets as well."""
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
