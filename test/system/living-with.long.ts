/** docs/living-with, beside programs that take longer or bring more with them: `npm run test:living`. */
import t from 'tap';
import { skip, typePages } from './pages.ts';

/** Docker's own engine, with a container that publishes a port; its image is made here, since no registry is asked. */
const DOCKER = `systemd-run --quiet --unit=docker-of-the-test --property=Delegate=yes dockerd --storage-driver vfs
until /usr/bin/docker info; do sleep 0.1; done
mkdir -p /srv/web/bin && echo 'hello from the container' >/srv/web/index.html
cp $(command -v busybox) /srv/web/bin/
tar -C /srv/web -c . | /usr/bin/docker import - web
/usr/bin/docker run --detach --name web --publish 8080:80 web /bin/busybox httpd -f -p 80 -h /
until curl --silent http://172.17.0.2/; do sleep 0.1; done`;

const NO_DOCKER = `/usr/bin/docker rm --force web; systemctl stop docker-of-the-test
for table in nat filter; do for family in ip ip6; do nft delete table $family $table; done; done`;

/** A tunnel between the two, by WireGuard's own program if the kernel has none; its devices are files of this lab. */
const WIREGUARD = `umask 077
mkdir -p /dev/net && mknod /dev/net/tun c 10 200
wg genkey >/root/server.key
wg genkey >/root/client.key
systemd-run --quiet --unit=wg-of-the-server wireguard-go -f wg0
systemd-run --quiet --unit=wg-of-the-client ip netns exec client wireguard-go -f wg1
until wg show wg0 && ip netns exec client wg show wg1; do sleep 0.1; done
wg set wg0 listen-port 51820 private-key /root/server.key peer $(wg pubkey </root/client.key) allowed-ips 10.9.0.2/32
ip addr add 10.9.0.1/24 dev wg0
ip link set wg0 up
cat >/root/tunnel <<'END'
wg set wg1 listen-port $1 private-key /root/client.key peer $(wg pubkey </root/server.key) endpoint 10.77.0.1:51820 allowed-ips 10.9.0.1/32
END
ip netns exec client sh -c 'sh /root/tunnel 40001; ip addr add 10.9.0.2/24 dev wg1; ip link set wg1 up'`;

t.test(
  'each line that is typed beside Docker, WireGuard, mosh and Ansible shows what the page says',
  { skip },
  t =>
    typePages(t, {
      docker: {
        programs: ['dockerd', 'iptables-nft', 'curl', 'busybox'],
        before: DOCKER,
        after: NO_DOCKER,
      },
      wireguard: { programs: ['wg', 'wireguard-go'], before: WIREGUARD },
      mosh: { programs: ['mosh', 'script'], shut: true },
      ansible: { programs: ['ansible-playbook'], shut: true },
    }),
);
