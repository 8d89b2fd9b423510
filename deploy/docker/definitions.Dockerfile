# 定义镜像 One reviewed state of connectors/, mappings/ and pipelines/ as an image: tagged, signed, rolled back like a program.
#
#   docker build -f deploy/docker/definitions.Dockerfile -t registry.example/huiliu-definitions:2026.11.1 .
#
# It does one thing: copy the definitions to where it is told.
ARG REGISTRY=docker.io/library
FROM ${REGISTRY}/busybox:1.36.1-musl
COPY connectors /definitions/connectors
COPY mappings /definitions/mappings
COPY pipelines /definitions/pipelines
USER 10001:10001
ENTRYPOINT ["/bin/cp", "-R", "/definitions/."]
CMD ["/workspace"]
