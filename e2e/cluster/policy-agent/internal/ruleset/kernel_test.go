package ruleset

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test below runs real packets through the kernel's filter: four network namespaces behind a routing one, in a user
// namespace, so that it needs no root and leaves nothing behind. The test binary starts itself again for each role.
const roleVariable = "SALLYPORT_TEST_ROLE"

func TestMain(m *testing.M) {
	role, argument, _ := strings.Cut(os.Getenv(roleVariable), " ")
	switch role {
	case "":
		os.Exit(m.Run())
	case "router":
		os.Exit(m.Run())
	case "serve":
		serve()
	case "dial":
		dial(argument)
	}
}

// host is a namespace of the test: a pod, or a host of the outside world.
type host struct{ name, v4, v6 string }

var (
	isolated = host{"isolated", "10.244.0.2", "fd00::2"}
	open     = host{"open", "10.244.0.3", "fd00::3"}
	unknown  = host{"unknown", "10.244.0.9", "fd00::9"}
	beyond   = host{"beyond", "203.0.113.10", "2001:db8::10"}
	router   = host{"router", "172.30.0.2", "fd01::2"}
	// linkLocal is the router by the address that it has on every pod's link.
	linkLocal = host{"link-local", "", "fe80::1%eth0"}
)

func TestTheKernelFiltersPacketsAsTheRulesetSays(t *testing.T) {
	if os.Getenv(roleVariable) == "" {
		cmd := exec.CommandContext(t.Context(), "unshare", "--user", "--map-root-user", "--net", "--mount", os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), roleVariable+"=router", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		return
	}
	build(t)
	for _, h := range []host{isolated, open, unknown, beyond, router} {
		startServer(t, h)
	}
	both := func(h host) []netip.Addr { return addrs(h.v4, h.v6) }
	base := Ruleset{
		PodCIDRs: prefixes("10.244.0.0/16", "fd00::/64"),
		Pods:     []Pod{{Name: "x/isolated", Addrs: both(isolated)}, {Name: "x/open", Addrs: both(open)}},
	}
	with := func(egress, ingress []Rule) Ruleset {
		r := base
		r.Pods = []Pod{base.Pods[0], base.Pods[1]}
		if egress != nil {
			r.Policies = append(r.Policies, Policy{Name: "x/egress", Direction: Egress, Rules: egress})
			r.Pods[0].Egress = []PolicyIndex{PolicyIndex(len(r.Policies) - 1)}
		}
		if ingress != nil {
			r.Policies = append(r.Policies, Policy{Name: "x/ingress", Direction: Ingress, Rules: ingress})
			r.Pods[0].Ingress = []PolicyIndex{PolicyIndex(len(r.Policies) - 1)}
		}
		return r
	}
	passUnknown := with([]Rule{}, nil)
	passUnknown.Unknown = PassUnknown
	block := func(cidr string, except ...string) Block {
		return Block{CIDR: netip.MustParsePrefix(cidr), Except: prefixes(except...)}
	}
	tcp80 := Ranges{TCP, []PortRange{{80, 80}}}
	openHTTP := Endpoints{{netip.MustParseAddr(open.v4), TCP, 80}, {netip.MustParseAddr(open.v6), TCP, 80}}

	for _, c := range []struct {
		sentence        string
		ruleset         Ruleset
		passes, refused []flow
	}{
		{
			"open pods reach everyone and unknown pods nobody", base,
			flows(open, isolated, "tcp80 udp80 tcp81", open, beyond, "tcp80 udp80", open, router, "tcp80 udp80", beyond, open, "tcp80", router, open, "tcp80", router, unknown, "tcp80"),
			flows(unknown, open, "tcp80 udp80", unknown, beyond, "tcp80", unknown, router, "tcp80 udp80", open, unknown, "tcp80 udp80", beyond, unknown, "tcp80"),
		},
		{
			"unknown pods pass if the ruleset says so", passUnknown,
			flows(unknown, open, "tcp80", unknown, router, "udp80", open, unknown, "tcp80"),
			flows(isolated, open, "tcp80"),
		},
		{
			"egress without rules refuses everything but the pod itself, and answers pass", with([]Rule{}, nil),
			flows(isolated, isolated, "tcp80 udp80", open, isolated, "tcp80 udp80", router, isolated, "tcp80 udp80", beyond, isolated, "tcp80"),
			flows(isolated, open, "tcp80 udp80", isolated, beyond, "tcp80 udp80", isolated, router, "tcp80 udp80", isolated, linkLocal, "tcp80"),
		},
		{
			"ingress without rules refuses everyone but the node, and the pod's own connections pass", with(nil, []Rule{}),
			flows(isolated, open, "tcp80 udp80", isolated, router, "tcp80", router, isolated, "tcp80 udp80", isolated, isolated, "tcp80"),
			flows(open, isolated, "tcp80 udp80", beyond, isolated, "tcp80 udp80"),
		},
		{
			"a block is bound to its family and has holes",
			with([]Rule{{block("0.0.0.0/0", "10.0.0.0/8", "10.244.0.0/16"), AnyPort{}}, {block("fd00::/8"), Ranges{Protocol: UDP}}}, nil),
			append(onlyV4(flows(isolated, beyond, "tcp80 udp80", isolated, router, "tcp80")), onlyV6(flows(isolated, open, "udp80", isolated, router, "udp80"))...),
			append(onlyV4(flows(isolated, open, "tcp80 udp80")), onlyV6(flows(isolated, beyond, "tcp80 udp80", isolated, open, "tcp80"))...),
		},
		{
			"ports and addresses are matched together", with([]Rule{{Addrs(both(open)), tcp80}}, []Rule{{Addrs(both(beyond)), tcp80}}),
			flows(isolated, open, "tcp80", beyond, isolated, "tcp80"),
			flows(isolated, open, "tcp81 udp80", isolated, beyond, "tcp80", open, isolated, "tcp80", beyond, isolated, "udp80 tcp81"),
		},
		{
			"endpoints are a destination's own port", with([]Rule{{AnyPeer{}, openHTTP}}, nil),
			flows(isolated, open, "tcp80"),
			flows(isolated, open, "tcp81 udp80", isolated, beyond, "tcp80"),
		},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			command(t, c.ruleset.Nftables(), "nft", "-f", "-")
			for _, f := range c.passes {
				if err := f.try(t); err != nil {
					t.Errorf("%s: %v", f, err)
				}
			}
			for _, f := range c.refused {
				if err := f.try(t); err == nil {
					t.Errorf("%s passes", f)
				} else if strings.Contains(err.Error(), "timeout") {
					t.Errorf("%s is dropped, not refused: %v", f, err)
				}
			}
		})
	}
	t.Run("connections that are established pass a stricter ruleset", func(t *testing.T) {
		command(t, base.Nftables(), "nft", "-f", "-")
		cmd := enter(isolated, os.Args[0])
		cmd.Env = append(os.Environ(), roleVariable+"=dial tcp "+net.JoinHostPort(open.v4, "80")+" twice")
		stdin, err := cmd.StdinPipe()
		must(t, err)
		stdout, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(stdout)
		if !lines.Scan() || lines.Text() != "ok" {
			t.Fatalf("before: %q", lines.Text())
		}
		command(t, with([]Rule{}, []Rule{}).Nftables(), "nft", "-f", "-")
		must(t, stdin.Close())
		if !lines.Scan() || lines.Text() != "ok" {
			t.Errorf("after: %q", lines.Text())
		}
		must(t, cmd.Wait())
	})
	t.Run("without the table everything passes", func(t *testing.T) {
		command(t, Removal, "nft", "-f", "-")
		for _, f := range flows(isolated, open, "tcp80", unknown, router, "tcp80", beyond, isolated, "udp80") {
			if err := f.try(t); err != nil {
				t.Errorf("%s: %v", f, err)
			}
		}
	})
}

// build makes the router's links the way the ptp plugin does: each host has one address, and everything else is routed.
func build(t *testing.T) {
	script := `set -e
mount -t tmpfs tmpfs /run; mkdir /run/netns
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
ip addr add 172.30.0.2/32 dev lo; ip addr add fd01::2/128 dev lo
add() {
  touch /run/netns/$1; unshare --net=/run/netns/$1 true
  ip link add $1 type veth peer name eth0 netns /run/netns/$1
  ip addr add 169.254.0.1/32 dev $1; ip addr add fe80::1/64 dev $1 nodad; ip link set $1 up
  in="nsenter --net=/run/netns/$1"
  $in ip link set lo up; $in ip link set eth0 up; $in ip addr add $2/32 dev eth0; $in ip addr add fe80::2/64 dev eth0 nodad; $in ip addr add $3/128 dev eth0 nodad
  $in ip route add 169.254.0.1 dev eth0; $in ip route add default via 169.254.0.1; $in ip -6 route add default via fe80::1 dev eth0
  ip route add $2 dev $1; ip -6 route add $3 dev $1
}
`
	for _, h := range []host{isolated, open, unknown, beyond} {
		script += fmt.Sprintf("add %s %s %s\n", h.name, h.v4, h.v6)
	}
	command(t, script, "bash")
}

// flow is one attempt to connect.
type flow struct {
	from, to host
	v6       bool
	protocol string
	port     string
}

// flows reads triples of host, host and "tcp80 udp80", and tries each in both families.
func flows(triples ...any) []flow {
	var fs []flow
	for i := 0; i < len(triples); i += 3 {
		for _, text := range strings.Fields(triples[i+2].(string)) {
			for _, v6 := range []bool{false, true} {
				if f := (flow{triples[i].(host), triples[i+1].(host), v6, text[:3], text[3:]}); f.to.v4 != "" || v6 {
					fs = append(fs, f)
				}
			}
		}
	}
	return fs
}

func onlyV4(fs []flow) []flow { return only(fs, false) }
func onlyV6(fs []flow) []flow { return only(fs, true) }

func only(fs []flow, v6 bool) []flow {
	var kept []flow
	for _, f := range fs {
		if f.v6 == v6 {
			kept = append(kept, f)
		}
	}
	return kept
}

func (f flow) address() string {
	if f.v6 {
		return net.JoinHostPort(f.to.v6, f.port)
	}
	return net.JoinHostPort(f.to.v4, f.port)
}

func (f flow) String() string {
	return fmt.Sprintf("%s > %s %s %s", f.from.name, f.to.name, f.protocol, f.address())
}

func (f flow) try(t *testing.T) error {
	cmd := enter(f.from, os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"=dial "+f.protocol+" "+f.address())
	out, err := cmd.CombinedOutput()
	must(t, err)
	if text := strings.TrimSpace(string(out)); text != "ok" {
		return errors.New(text)
	}
	return nil
}

// enter runs a program in a host's network namespace; the router is the test's own.
func enter(h host, program string) *exec.Cmd {
	if h == router {
		return exec.Command(program)
	}
	return exec.Command("nsenter", "--net=/run/netns/"+h.name, program)
}

func startServer(t *testing.T, h host) {
	cmd := enter(h, os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"=serve")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the server of %s is not ready: %q", h.name, line)
	}
}

func command(t *testing.T, stdin, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serve echoes on TCP 80 and 81 and UDP 80 until it is killed.
func serve() {
	for _, port := range []string{"80", "81"} {
		listener, err := net.Listen("tcp", ":"+port)
		exitOn(err)
		go func() {
			for {
				conn, err := listener.Accept()
				exitOn(err)
				go func() { _, _ = io.Copy(conn, conn); _ = conn.Close() }()
			}
		}()
	}
	// One socket per address: an answer has to leave from the address that was asked.
	addresses, err := net.InterfaceAddrs()
	exitOn(err)
	for _, address := range addresses {
		ip := address.(*net.IPNet).IP
		if ip.IsLinkLocalUnicast() {
			continue
		}
		conn, err := net.ListenPacket("udp", net.JoinHostPort(ip.String(), "80"))
		exitOn(err)
		go func() {
			buffer := make([]byte, 64)
			for {
				n, peer, err := conn.ReadFrom(buffer)
				exitOn(err)
				_, _ = conn.WriteTo(buffer[:n], peer)
			}
		}()
	}
	fmt.Println("ready")
	select {}
}

// dial connects, exchanges a byte and prints `ok` or the error; with a third argument it does so again on the same
// connection after its standard input has ended.
func dial(argument string) {
	fields := strings.Fields(argument)
	conn, err := net.DialTimeout(fields[0], fields[1], 20*time.Second)
	if err != nil {
		fmt.Println(err)
		return
	}
	exchange := func() {
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		_, err := conn.Write([]byte("x"))
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("ok")
	}
	exchange()
	if len(fields) > 2 {
		_, _ = io.Copy(io.Discard, os.Stdin)
		exchange()
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
