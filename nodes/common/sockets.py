"""Sockets of our own; what each carries is in the docstring of its dataclass (editing/common/types.py and its kin)."""

from __future__ import annotations

from ...host import io

GanGeneratorType = io.Custom("GAN_GENERATOR")
GanLatentType = io.Custom("GAN_LATENT")
EditDirectionType = io.Custom("EDIT_DIRECTION")
EditStrengthType = io.Custom("EDIT_STRENGTH")
TextEditType = io.Custom("TEXT_EDIT")
PartLabelsType = io.Custom("PART_LABELS")
ConceptUnitsType = io.Custom("CONCEPT_UNITS")
GanPaintingType = io.Custom("GAN_PAINTING")
TextImageScorerType = io.Custom("TEXT_IMAGE_SCORER")
SegmenterType = io.Custom("PICTURE_SEGMENTER")
IdentityNetworkType = io.Custom("IDENTITY_NETWORK")
PerceptualNetworkType = io.Custom("PERCEPTUAL_NETWORK")
AlignmentType = io.Custom("ALIGNMENT")
StateReaderType = io.Custom("STATE_READER")
StateDrawingsType = io.Custom("STATE_DRAWINGS")
PairEditType = io.Custom("PAIR_EDIT")
# Of detectors that people have installed; ComfyUI itself only names them.
BoxesType = io.Custom("BBOX")
PoseKeypointType = io.Custom("POSE_KEYPOINT")
# Of ComfyUI's own detectors, which older versions do not have: there the sockets stay unconnected.
FaceLandmarksType = io.Custom("FACE_LANDMARKS")
BoundingBoxType = io.Custom("BOUNDING_BOX")
FaceDetectionType = io.Custom("FACE_DETECTION_MODEL")
ClipVisionType = io.Custom("CLIP_VISION")
