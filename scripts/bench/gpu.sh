#!/usr/bin/env bash
# Takes all GPU figures of docs/benchmarks.md and runs the tests marked `gpu`, in under 8 minutes. Each part leaves a
# file in the folder of results and is not run again while that file is there, so that an interrupted call goes on.
#
#   scripts/bench/gpu.sh [FOLDER]             results; default build/gpu
#   DEVICE=cpu scripts/bench/gpu.sh           small sizes: whether the script itself works
#   PYTHON=python3 SECONDS_PER_PART=90 PARTS="tests steps" scripts/bench/gpu.sh
set -uo pipefail
cd "$(dirname "$0")/../.."
results=${1:-build/gpu}
device=${DEVICE:-cuda}
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
limit=${SECONDS_PER_PART:-120}
parts=${PARTS:-machine tests steps throughput contrastive losses validation precision tables}
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
mkdir -p "$results"

small=() few=() batch=65536 repeats=3
if [ "$device" = cpu ]; then
    small=(--small) few=(--only mlp-30-64-1 --steps 5) batch=512 repeats=1
fi

machine() {
    date --iso-8601
    "$python" -c "
import platform, torch, lightning, lit_mlfund
print('Python', platform.python_version(), '· torch', torch.__version__, '· lightning', lightning.__version__)
print(torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU')"
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || true
}
tests() { "$python" -m pytest -q -m gpu -p no:cacheprovider --durations=5 tests; }
steps() { "$python" scripts/bench/loop.py --device "$device" --repeats "$repeats" ${few[@]+"${few[@]}"}; }
throughput() { "$python" scripts/bench/throughput.py --device "$device" --repeats "$repeats" ${small[@]+"${small[@]}"}; }
contrastive() {
    "$python" scripts/bench/contrastive.py --device "$device" --batch "$batch" --cases plain --repeats "$repeats"
}
losses() { "$python" scripts/bench/losses.py --device "$device" --only lambdarank --repeats "$repeats"; }
validation() {
    "$python" scripts/bench/loop.py --what validation --device "$device" --repeats "$repeats" ${few[@]+"${few[@]}"}
}
precision() {
    "$python" scripts/bench/precision.py --device "$device" --only mlp dlrm --repeats 1 \
        $([ "$device" = cpu ] && echo --epochs 2 --variants bf16)
}
tables() {
    "$python" scripts/bench/embedding_tables.py --device "$device" --embedding sparse --repeats "$repeats" \
        $([ "$device" = cpu ] && echo --rows 1000 10000 --steps 3)
}

if [ -n "${PART:-}" ]; then # one part, under its time limit: see below
    "$PART"
    exit
fi
failed=()
for part in $parts; do
    [ -e "$results/$part.txt" ] && continue
    echo "== $part"
    SECONDS=0
    if PART=$part timeout -k 5 "$limit" "$PWD/scripts/bench/gpu.sh" "$results" 2>&1 | tee "$results/$part.part"; then
        mv "$results/$part.part" "$results/$part.txt"
    else
        failed+=("$part")
    fi
    echo "-- $part: $SECONDS s"
done
[ ${#failed[@]} -eq 0 ] || { echo "failed, or over $limit s: ${failed[*]}"; exit 1; }
