# knockd-nft in a container that guards its host:
#
#   docker build -t knockd-nft .
#   docker run -d --name knockd-nft --restart unless-stopped --network host --cap-drop ALL --cap-add NET_ADMIN \
#     --read-only --tmpfs /run/knockd-nft:uid=64022,gid=64022,mode=755 -v /etc/knockd-nft:/etc/knockd-nft:ro \
#     -v knockd-nft:/var/lib/knockd-nft knockd-nft
#
# with the configuration in /etc/knockd-nft/knockd-nft.json. It is a folder that is mounted, since a file would stay
# the old one when an editor replaces it. User 64022 must be able to read it: chown root:64022, chmod 640.
#
# Debian, since npm's netlink has no native part for musl. NODE and BASE are for builds from other copies of the same.
ARG NODE=node:24-trixie-slim
ARG BASE=debian:trixie-slim

# npm comes with this one: Debian's brings 370 packages, whose installation takes minutes
FROM ${NODE} AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
# what the packages have, with the same Node.js
RUN node scripts/bundle.mjs && node -e "import('./scripts/package/tree.mjs').then(it => it.stage('/image', process.arch))"

FROM ${BASE}
COPY --from=build /image/usr/lib/knockd-nft /usr/lib/knockd-nft
COPY --from=build /image/usr/share/doc/knockd-nft/copyright /usr/share/doc/knockd-nft/copyright
RUN apt-get update && apt-get install -y --no-install-recommends libcap2-bin \
  # a node of its own has the capability, so that it needs no root; nobody else may run it
  && groupadd --system --gid 64022 knockd-nft \
  && useradd --system --uid 64022 --gid 64022 --no-create-home --shell /usr/sbin/nologin knockd-nft \
  && install -o root -g knockd-nft -m 0750 /usr/lib/knockd-nft/bin/node /usr/local/bin/knockd-nft-node \
  && setcap cap_net_admin=ep /usr/local/bin/knockd-nft-node \
  && apt-get purge -y --auto-remove libcap2-bin && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
  && install -d -o knockd-nft -g knockd-nft -m 0700 /var/lib/knockd-nft \
  && install -d -o knockd-nft -g knockd-nft -m 0755 /run/knockd-nft
# where the capability is not granted, the program itself says so; flags and environment are those of the unit
RUN printf '%s\n' '#!/bin/sh' 'node=knockd-nft-node' \
    '$node --version >/dev/null 2>&1 || node=/usr/lib/knockd-nft/bin/node' \
    'exec $node --jitless --max-semi-space-size=1 --single-threaded-gc --optimize-for-size --minor-gc-task-trigger=5 --no-node-snapshot /usr/lib/knockd-nft/compiled/knockd-nft.cjs "$@"' \
  >/usr/local/bin/knockd-nft && chmod 755 /usr/local/bin/knockd-nft
ENV KNOCKD_NFT_CONFIG=/etc/knockd-nft/knockd-nft.json \
  STATE_DIRECTORY=/var/lib/knockd-nft RUNTIME_DIRECTORY=/run/knockd-nft \
  MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=65536
USER knockd-nft
HEALTHCHECK --interval=1m --timeout=10s CMD ["knockd-nft", "status"]
# stopping it leaves the table: the kernel goes on guarding and knocking
ENTRYPOINT ["knockd-nft"]
CMD ["run"]
