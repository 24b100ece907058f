#!/usr/bin/env bash
# One run on several nodes, one process for each device. Neither address nor port is configured: rank 0 is found by itself.
#
#   sbatch slurm_two_nodes.sh task=multiclass data=table data.path=clicks.parquet data.target=kind
#
#SBATCH --job-name=mlfund
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out
# with GPUs:  #SBATCH --gpus-per-node=2   (not --gpus-per-task: each process has to see all of its node)
set -euo pipefail
exec srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" ${MLFUND:-mlfund} train trainer=ddp \
    trainer.num_nodes="$SLURM_JOB_NUM_NODES" trainer.devices="$SLURM_NTASKS_PER_NODE" "$@"
