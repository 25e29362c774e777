/** docs/living-with, beside programs that take longer or bring more with them: `npm run test:living`. */
import t from 'tap';
import { skip, typePages } from './pages.ts';

/** A container on Docker's bridge, published, and the rules that Docker writes for it. */
const DOCKER = `ip netns add container
ip link add docker0 type bridge
ip addr add 172.17.0.1/16 dev docker0
ip link set docker0 up
ip link add veth0 master docker0 up type veth peer name eth0 netns container
ip -n container addr add 172.17.0.2/16 dev eth0
ip -n container link set eth0 up
ip -n container link set lo up
ip -n container route add default via 172.17.0.1
sysctl -qw net.ipv4.ip_forward=1
mkdir -p /srv/web && echo 'hello from the container' >/srv/web/index.html
systemd-run --quiet --unit=container-of-the-test ip netns exec container python3 -m http.server --directory /srv/web 80
iptables -t nat -N DOCKER
iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
iptables -t nat -A DOCKER ! -i docker0 -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
until ip netns exec container curl --silent http://127.0.0.1/; do sleep 0.1; done`;

/** A tunnel between the two, by WireGuard's own program where the kernel has none; its devices are files of this lab. */
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

t.test('what is typed beside Docker, WireGuard, mosh and Ansible shows what the page says', { skip }, t =>
  typePages(t, {
    docker: {
      programs: ['iptables-nft', 'curl', 'python3'],
      before: DOCKER,
      after: 'nft delete table ip nat',
    },
    wireguard: { programs: ['wg', 'wireguard-go'], before: WIREGUARD },
    mosh: { programs: ['mosh', 'script'], shut: true },
    ansible: { programs: ['ansible-playbook'], shut: true },
  }),
);
