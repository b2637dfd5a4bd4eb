"""`spec.monitoring`: what is watched, and when it is an alarm."""

from perennial_api.modeldeployment.monitoring.inputs import (
    DataQuality,
    Drift,
    DriftDetector,
    Engine,
    Outlier,
    OutlierDetector,
    Reaction,
)
from perennial_api.modeldeployment.monitoring.monitor import Monitor, MonitorType, Severity
from perennial_api.modeldeployment.monitoring.performance import (
    Concept,
    ConceptDetector,
    EstimatedPerformance,
    EstimationMethod,
    Labels,
    Performance,
    PerformanceMetric,
)
from perennial_api.modeldeployment.monitoring.reference import (
    LogReference,
    Reference,
    ReferenceSource,
    Seasonality,
    UriReference,
)
from perennial_api.modeldeployment.monitoring.service import (
    Custom,
    Fairness,
    FairnessMetric,
    LatencyObjective,
    ServiceLevel,
)
from perennial_api.modeldeployment.monitoring.spec import Monitoring, Retention, Slice
from perennial_api.modeldeployment.monitoring.windows import (
    Alarm,
    Clear,
    MonitorDefaults,
    MonitorSettings,
    Window,
)

__all__ = [
    "Alarm",
    "Clear",
    "Concept",
    "ConceptDetector",
    "Custom",
    "DataQuality",
    "Drift",
    "DriftDetector",
    "Engine",
    "EstimatedPerformance",
    "EstimationMethod",
    "Fairness",
    "FairnessMetric",
    "Labels",
    "LatencyObjective",
    "LogReference",
    "Monitor",
    "MonitorDefaults",
    "MonitorSettings",
    "MonitorType",
    "Monitoring",
    "Outlier",
    "OutlierDetector",
    "Performance",
    "PerformanceMetric",
    "Reaction",
    "Reference",
    "ReferenceSource",
    "Retention",
    "Seasonality",
    "ServiceLevel",
    "Severity",
    "Slice",
    "UriReference",
    "Window",
]
