# docker build -t lit_mlfund . && docker run --rm -v "$PWD/runs:/work/runs" lit_mlfund train task=binary
FROM python:3.11-slim
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY conf conf
COPY src src
RUN pip install --no-cache-dir --constraint constraints.txt .
WORKDIR /work
ENTRYPOINT ["mlfund"]
CMD ["--help"]
