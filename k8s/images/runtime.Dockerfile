# The Node runtime: what a function's pod runs. `make images` builds it; the context is the root of the repository.
# A function's own image is
#
#     FROM localhost/simmer/runtime:dev
#     COPY . .
FROM docker.io/library/node:22-bookworm-slim AS packages
WORKDIR /simmer
COPY package.json package-lock.json .npmrc ./
COPY protocol/package.json protocol/
COPY runtime/package.json runtime/
COPY k8s/package.json k8s/
COPY control-plane/package.json control-plane/
COPY client/package.json client/
COPY cli/package.json cli/
COPY examples/package.json examples/
COPY benchmarks/package.json benchmarks/

FROM packages AS build
RUN npm ci --ignore-scripts
COPY tsconfig.base.json ./
COPY protocol/ protocol/
COPY runtime/ runtime/
RUN node_modules/.bin/tsc -b protocol && node runtime/bundle.mjs

FROM docker.io/library/node:22-bookworm-slim
LABEL org.opencontainers.image.title="simmer runtime for Node" org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production
COPY LICENSE /simmer/LICENSE
COPY --from=build /simmer/runtime/dist/runtime.cjs /simmer/runtime/dist/validator.cjs /simmer/runtime/dist/unpacker.cjs /simmer/
USER 1000:1000
# The handler's path is relative to it.
WORKDIR /function
# node is process 1: SIGTERM reaches the runtime, which finishes what it runs and exits 0.
ENTRYPOINT ["node", "--experimental-async-context-frame", "--min-semi-space-size=8", "/simmer/runtime.cjs"]
