#!/usr/bin/env bash
# One run on one node. Copy, adapt the lines #SBATCH, and submit with what `mlfund train` is to be given:
#
#   sbatch slurm_train.sh task=binary data=table data.path=clicks.csv data.target=click
#
#SBATCH --job-name=mlfund
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out
# with GPUs:  #SBATCH --gpus-per-node=1   and   trainer=gpu
# --signal  two minutes before the limit of time the run saves, and the job is requeued: it goes on in its own folder
# --signal without `B:` reaches the processes that srun starts, so srun is needed for one process, too
set -euo pipefail
exec srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" ${MLFUND:-mlfund} train "$@"
