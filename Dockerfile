# knockd-nft in a container that guards its host:
#
#   docker build -t knockd-nft .
#   docker run -d --name knockd-nft --restart unless-stopped --network host --cap-drop ALL --cap-add NET_ADMIN \
#     --read-only --tmpfs /run/knockd-nft -v /etc/knockd-nft:/etc/knockd-nft:ro -v knockd-nft:/var/lib/knockd-nft \
#     knockd-nft
#
# with the configuration in /etc/knockd-nft/knockd-nft.json. It is a folder that is mounted, since a file would stay
# the old one when an editor replaces it. User 64022 must be able to read it: chown root:64022, chmod 640.
#
# Debian, since npm's netlink has no native part for musl. BASE is for builds from another copy of the same.
ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
RUN apt-get update && apt-get install -y --no-install-recommends nodejs npm
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
# src alone: tests and benchmarks stay outside
RUN node scripts/bundle.mjs
RUN mkdir -p /image/dist /image/node_modules && cp dist/knockd-nft.cjs /image/dist/ && cd node_modules \
  && cp -r --parents netlink/package.json netlink/LICENSE netlink/dist/raw.js netlink/prebuilds/linux-"$(node -p process.arch)" \
    node-gyp-build koffi/package.json koffi/LICENSE.txt koffi/index.cjs koffi/src/koffi/index.cjs \
    koffi/src/koffi/src/static.cjs @koromix /image/node_modules/ \
  && rm -rf /image/node_modules/@koromix/*/musl_*

FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends nodejs libcap2-bin \
  # a node of its own has the capability, so that it needs no root; nobody else may run it
  && groupadd --system --gid 64022 knockd-nft \
  && useradd --system --uid 64022 --gid 64022 --no-create-home --shell /usr/sbin/nologin knockd-nft \
  && install -o root -g knockd-nft -m 0750 "$(readlink -f /usr/bin/node)" /usr/local/bin/knockd-nft-node \
  && setcap cap_net_admin=ep /usr/local/bin/knockd-nft-node \
  && apt-get purge -y --auto-remove libcap2-bin && rm -rf /var/lib/apt/lists/* \
  && install -d -o knockd-nft -g knockd-nft -m 0700 /var/lib/knockd-nft \
  && install -d -o knockd-nft -g knockd-nft -m 0755 /run/knockd-nft
COPY --from=build /image /usr/lib/knockd-nft
COPY LICENSE /usr/share/doc/knockd-nft/copyright
# where the capability is not granted, the program itself says so; Node.js 24 does not know --no-expose-wasm, without which
# Debian's 20 begins with a warning
RUN printf '%s\n' '#!/bin/sh' 'knockd-nft-node --version >/dev/null 2>&1 && node=knockd-nft-node || node=node' \
    'exec $node --jitless --no-expose-wasm --max-semi-space-size=1 --single-threaded-gc /usr/lib/knockd-nft/dist/knockd-nft.cjs "$@"' \
  >/usr/local/bin/knockd-nft && chmod 755 /usr/local/bin/knockd-nft
ENV KNOCKD_NFT_CONFIG=/etc/knockd-nft/knockd-nft.json \
  STATE_DIRECTORY=/var/lib/knockd-nft RUNTIME_DIRECTORY=/run/knockd-nft
USER knockd-nft
HEALTHCHECK --interval=1m --timeout=10s CMD ["knockd-nft", "status"]
# stopping it leaves the table: the kernel goes on guarding and knocking
ENTRYPOINT ["knockd-nft"]
CMD ["run"]
