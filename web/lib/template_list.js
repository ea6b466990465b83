/**
 * The templates from the easiest to the heaviest, by file name and title. ComfyUI's own list has no order and no titles.
 * A menu grows upward where it is long: so there is one for each group.
 */
export const GROUPS = {
  "Start here": [
    ["edit_one_for_all", "Edit one for all: turn one head, and every face follows"],
    ["edit_your_own_folder", "Your own photos: one edit for a whole folder, in four nodes"],
    ["check_a_generator", "Check your own generator: one page about what it is and what it can do"],
    ["generate_and_blend", "Generate faces, and blend them: morph, mix styles, keep the pose"],
    ["slider_animation", "Animate an edit: a film of faces turning (WEBP, video)"],
  ],
  "Many pictures": [
    ["batch_folder", "Batch: one edit for a folder of thousands of photos"],
    ["combine_edits", "Combine edits: turn the head, smile and put on glasses at once"],
    ["discover_directions", "Find new sliders without labels: principal components (GANSpace, SeFa)"],
    ["drag_one_edit_all", "Drag points on one face, and all others follow (DragGAN for a batch)"],
  ],
  "One state": [
    ["one_state_for_a_folder", "One state for a folder: everyone reaches the example's state, read in the pictures"],
    ["hold_a_state_in_a_clip", "Hold a state in a clip: the same mouth in every frame, steadied over time (video)"],
    ["one_state_any_editor", "One state with any editor: each picture gets the strength that it needs (slider, LoRA, denoise)"],
  ],
  "Real photos": [
    ["edit_a_real_photo", "Edit a real photo: moles, letters and patterns stay"],
    ["edit_in_a_full_photo", "Edit faces in a full photo: crop, align, edit, paste back"],
    ["paint_a_photo", "Paint objects into a photo: inpaint a hat and glasses by a stroke"],
    ["remove_an_object", "Remove an object from a photo: take the glasses off (inpaint)"],
    ["copy_appearance", "Copy a look: hair colour from another photo (style transfer)"],
  ],
  "Sentences": [
    ["text_edit_regions", "Edit by a sentence: it learns where to act (text to edit, CLIP)"],
    ["text_edit_refine", "Refine a text edit: split it into a smile and dark hair, or brush where it acts"],
    ["text_edit_for_all", "A sentence for all: everyone gets hair of the same length"],
    ["localize_a_direction", "Keep an edit local: regions and layers for a slider that changes too much"],
  ],
  "Diffusion": [
    ["pair_edit_demo", "One pair, one slider: put glasses on every photo (diffusion, LoRA slider)"],
    ["pair_edit", "One pair, one slider with your own checkpoint (SD 1.5, SDXL, Flux; GPU)"],
    ["pair_edit_folder", "A saved slider brings a folder of photos to one state (diffusion, batch)"],
    ["imagic_demo", "Imagic demo: bend a photo toward a sentence (diffusion)"],
    ["imagic_eta_sweep", "Imagic: find the best eta by a sweep (how far toward the sentence)"],
    ["imagic_batch", "Imagic for a batch: one sentence, many photos, one state"],
    ["one_state_imagic", "One state with Imagic: each photo at the eta where a reader sees the same (diffusion)"],
  ["imagic", "Imagic with your own checkpoint: edit a photo by a sentence (SD 1.5, GPU)"],
    ["all_methods", "All four methods on one photo: smile, glasses, hat, blond hair"],
  ],
};

export const TEMPLATES = Object.values(GROUPS).flat();
