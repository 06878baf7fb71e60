# syntax=docker/dockerfile:1
# Debian 13 because the prebuilt uWebSockets.js binaries for newer Nodes need its C library (ADR 0002); Node comes with the
# official image of that base. Run it with --read-only (docs/container.md).

FROM node:20-trixie-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY scripts/build.mjs scripts/
COPY src/ src/
COPY LICENSE ./
# A checkout made under umask 077 has files only their owner may read, and COPY keeps that: the server's user reads them all.
RUN npm run build && chmod -R a+rX dist package.json LICENSE

FROM node:20-trixie-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts
COPY scripts/check-uws.mjs scripts/uws-binaries.sha256 scripts/
# The package holds a binary for every platform and Node; the image keeps the one it loads, after its checksum was compared.
RUN node scripts/check-uws.mjs \
 && find node_modules/uWebSockets.js -name '*.node' ! -name "uws_linux_$(node -p process.arch)_$(node -p process.versions.modules).node" -delete \
 && node scripts/check-uws.mjs --present \
 && node -e "require('uWebSockets.js')"

FROM node:20-trixie-slim
ENV NODE_ENV=production \
    TMCP_DATA_DIR=/data
WORKDIR /app
COPY --from=dependencies /app/node_modules/ node_modules/
COPY --from=build /app/dist/ dist/
COPY --from=build /app/package.json /app/LICENSE ./
# Nothing is installed at run time: npm, corepack and yarn go.
RUN rm -rf /usr/local/lib/node_modules /opt/yarn* \
 && cd /usr/local/bin && rm -f npm npx corepack yarn yarnpkg \
 && install -d -o 1000 -g 1000 -m 0700 /data
VOLUME /data
# A number, so that Kubernetes can see that it is not root. It is the image's user "node".
USER 1000:1000
EXPOSE 8080 9464
# Not with fetch: loading it takes half of the check's processor time.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "require('node:http').get({ host: '127.0.0.1', port: process.env.TMCP_PORT || 8080, path: '/healthz' }, (answer) => process.exit(answer.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]
# Node is process 1: the server handles SIGTERM itself (it drains) and starts no children that would need reaping.
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "dist/main.js"]
CMD ["serve"]
