"""The abstract halves of a task, and what each promises: Input, Target, Metric, Head, Net, Task.

Knows no implementation. `Task = Input x Target`: an Input knows the raw thing, a Target knows its label, and the
two meet in `Pieces` (geometry) and in raw coordinates (predictions). All but nets and heads are frozen values.
"""

from PIL.Image import Image as Canvas

from foveal.contracts.head import Head
from foveal.contracts.input import Input
from foveal.contracts.metric import CALIBRATION_ERROR, Metric
from foveal.contracts.net import Net
from foveal.contracts.target import Target
from foveal.contracts.task import Task
from foveal.types import Predictor

__all__ = ["CALIBRATION_ERROR", "Canvas", "Head", "Input", "Metric", "Net", "Predictor", "Target", "Task"]
