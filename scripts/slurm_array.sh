#!/usr/bin/env bash
# Many runs, each a task of its own of one array, at most eight at a time: line N of a file has the overrides of task N.
#
#   printf 'seed=%d optim.lr=1e-3\n' 0 1 2 3 > runs.txt
#   sbatch --array=1-4%8 slurm_array.sh runs.txt task=binary data=breast_cancer
#
#SBATCH --job-name=mlfund
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A_%a.out
# Each task is requeued by itself, and finds its own folder.
set -euo pipefail
read -r -a line <<< "$(sed -n "${SLURM_ARRAY_TASK_ID}p" "$1")"
exec srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" ${MLFUND:-mlfund} train "${@:2}" "${line[@]}"
