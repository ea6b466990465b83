"""One state for any editor: readers say what pictures show, a plan and a loop find the strength of each."""

from .example import reader_from_example, taught_reader
from .faces import FACE_MEASURES, face_measure_names, measure_faces, reader_from_face
from .joint import JointState, reach_states
from .masks import MASK_MEASURES, measure_masks, reader_from_mask
from .mesh import mesh_detector
from .middle import middle_features
from .outside import OutsideCap
from .picture_noise import measure_noise, with_measured_noise
from .plan import StrengthPlan, plan_strengths
from .reach import ReachedState, reach_state
from .reader import StateReader
from .sentence import reader_from_sentence

__all__ = [
    "FACE_MEASURES",
    "MASK_MEASURES",
    "JointState",
    "OutsideCap",
    "ReachedState",
    "StateReader",
    "StrengthPlan",
    "face_measure_names",
    "measure_faces",
    "measure_masks",
    "measure_noise",
    "mesh_detector",
    "middle_features",
    "plan_strengths",
    "reach_state",
    "reach_states",
    "reader_from_example",
    "reader_from_face",
    "reader_from_mask",
    "reader_from_sentence",
    "taught_reader",
    "with_measured_noise",
]
