# The control plane. `make images` builds it; the context is the root of the repository.
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

# What it runs with: no development dependency, no script of a package, and of uWebSockets.js the binary of this Node alone.
FROM packages AS production
RUN npm ci --omit=dev --ignore-scripts --workspace=control-plane --workspace=k8s --workspace=protocol \
  && find node_modules/@uwsjs -mindepth 1 -maxdepth 1 ! -name '*-22' -exec rm -r {} + \
  && find node_modules/swagger-ui-dist -type f ! -name package.json ! -name LICENSE ! -name NOTICE \
    ! -name swagger-ui.css ! -name swagger-ui-bundle.js -delete \
  && find node_modules \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.cts' -o -name '*.d.mts' \) -delete \
  && rm -rf node_modules/.package-lock.json node_modules/.cache

FROM packages AS build
RUN npm ci --ignore-scripts
COPY tsconfig.base.json ./
COPY protocol/ protocol/
COPY runtime/ runtime/
COPY k8s/tsconfig.json k8s/
COPY k8s/src/ k8s/src/
COPY control-plane/ control-plane/
RUN node_modules/.bin/tsc -b control-plane runtime && node runtime/bundle.mjs \
  && find */dist \( -name '*.d.ts' -o -name '*.map' -o -name '.tsbuildinfo' \) -delete

FROM docker.io/library/node:22-bookworm-slim
LABEL org.opencontainers.image.title="simmer control plane" org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production
WORKDIR /simmer
COPY --from=production /simmer/node_modules/ node_modules/
COPY LICENSE ./
COPY --from=build /simmer/protocol/package.json protocol/
COPY --from=build /simmer/protocol/dist/ protocol/dist/
COPY --from=build /simmer/k8s/package.json k8s/
COPY --from=build /simmer/k8s/dist/ k8s/dist/
COPY --from=build /simmer/runtime/dist/runtime.cjs /simmer/runtime/dist/validator.cjs /simmer/runtime/dist/unpacker.cjs runtime/dist/
COPY --from=build /simmer/control-plane/package.json control-plane/
COPY --from=build /simmer/control-plane/dist/ control-plane/dist/
# What it has in another version than its neighbours.
COPY --from=production /simmer/control-plane/node_modules/ control-plane/node_modules/
USER 1000:1000
EXPOSE 8080 8081 8082
# node is process 1: SIGTERM reaches the control plane, which drains and exits 0.
ENTRYPOINT ["node", "/simmer/control-plane/dist/main.js"]
