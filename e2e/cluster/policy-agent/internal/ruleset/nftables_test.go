package ruleset

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func prefixes(texts ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, text := range texts {
		ps = append(ps, netip.MustParsePrefix(text))
	}
	return ps
}

func addrs(texts ...string) []netip.Addr {
	var as []netip.Addr
	for _, text := range texts {
		as = append(as, netip.MustParseAddr(text))
	}
	return as
}

// everyKind holds every kind of peer and port, in both directions.
func everyKind() Ruleset {
	endpoints := Endpoints{{netip.MustParseAddr("10.244.0.5"), TCP, 80}, {netip.MustParseAddr("fd00::5"), SCTP, 80}}
	ranges := Ranges{TCP, []PortRange{{80, 80}, {8000, 8100}}}
	return Ruleset{
		PodCIDRs: prefixes("10.244.0.0/16", "fd00::/64"),
		Pods: []Pod{
			{Name: "team-a/server", Addrs: addrs("10.244.0.5", "fd00::5"), Egress: []PolicyIndex{0}, Ingress: []PolicyIndex{1, 2}},
			{Name: "team-a/open", Addrs: addrs("10.244.0.6")},
		},
		Policies: []Policy{
			{Name: "team-a/out", Direction: Egress, Rules: []Rule{
				{Block{CIDR: netip.MustParsePrefix("203.0.113.0/24"), Except: prefixes("203.0.113.8/29", "203.0.113.8/30")}, ranges},
				{Block{CIDR: netip.MustParsePrefix("::/0"), Except: prefixes("fd00::/8")}, Ranges{Protocol: UDP}},
				{Block{CIDR: netip.MustParsePrefix("0.0.0.0/0")}, endpoints},
			}},
			{Name: "team-a/in", Direction: Ingress, Rules: []Rule{
				{Addrs(addrs("10.244.0.6", "fd00::6")), AnyPort{}},
				{AnyPeer{}, endpoints},
			}},
			{Name: "team-a/deny", Direction: Ingress},
		},
	}
}

const everyKindText = `table inet sallyport-policy
delete table inet sallyport-policy
table inet sallyport-policy {
	set pods4 {
		type ipv4_addr
		elements = { 10.244.0.5, 10.244.0.6 }
	}
	map egress4 {
		type ipv4_addr : verdict
		elements = { 10.244.0.5 : goto pod-0-egress }
	}
	map ingress4 {
		type ipv4_addr : verdict
		elements = { 10.244.0.5 : goto pod-0-ingress }
	}
	set pods6 {
		type ipv6_addr
		elements = { fd00::5 }
	}
	map egress6 {
		type ipv6_addr : verdict
		elements = { fd00::5 : goto pod-0-egress }
	}
	map ingress6 {
		type ipv6_addr : verdict
		elements = { fd00::5 : goto pod-0-ingress }
	}
	chain egress-to-elsewhere {
		type filter hook forward priority filter - 20; policy accept;
		ct state established,related accept
		ip saddr 10.244.0.0/16 ip saddr != @pods4 goto refuse
		ip saddr vmap @egress4
		ip6 saddr fd00::/64 ip6 saddr != @pods6 goto refuse
		ip6 saddr vmap @egress6
	}
	chain egress-to-this-node {
		type filter hook input priority filter - 20; policy accept;
		ct state established,related accept
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept
		ip6 saddr fe80::/10 goto refuse
		ip saddr 10.244.0.0/16 ip saddr != @pods4 goto refuse
		ip saddr vmap @egress4
		ip6 saddr fd00::/64 ip6 saddr != @pods6 goto refuse
		ip6 saddr vmap @egress6
	}
	chain ingress {
		type filter hook forward priority filter - 10; policy accept;
		ct state established,related accept
		ip daddr 10.244.0.0/16 ip daddr != @pods4 goto refuse
		ip daddr vmap @ingress4
		ip6 daddr fd00::/64 ip6 daddr != @pods6 goto refuse
		ip6 daddr vmap @ingress6
	}
	chain pod-0-egress {
		comment "team-a/server"
		ip daddr { 10.244.0.5 } accept
		ip6 daddr { fd00::5 } accept
		jump policy-0
		goto refuse
	}
	chain pod-0-ingress {
		comment "team-a/server"
		ip saddr { 10.244.0.5 } accept
		ip6 saddr { fd00::5 } accept
		jump policy-1
		jump policy-2
		goto refuse
	}
	chain policy-0 {
		comment "team-a/out"
		ip daddr 203.0.113.0/24 ip daddr != 203.0.113.8/29 ip daddr != 203.0.113.8/30 tcp dport { 80, 8000-8100 } accept
		meta nfproto ipv6 ip6 daddr != fd00::/8 meta l4proto udp accept
		meta nfproto ipv4 ip daddr . meta l4proto . th dport { 10.244.0.5 . tcp . 80 } accept
	}
	chain policy-1 {
		comment "team-a/in"
		ip saddr { 10.244.0.6 } accept
		ip6 saddr { fd00::6 } accept
		ip daddr . meta l4proto . th dport { 10.244.0.5 . tcp . 80 } accept
		ip6 daddr . meta l4proto . th dport { fd00::5 . sctp . 80 } accept
	}
	chain policy-2 {
		comment "team-a/deny"
	}
	chain refuse {
		meta l4proto tcp reject with tcp reset
		reject with icmpx admin-prohibited
	}
}
`

func TestEveryKindOfRuleIsWrittenAsExpected(t *testing.T) {
	if got := everyKind().Nftables(); got != everyKindText {
		t.Errorf("got:\n%s", got)
	}
}

func TestUnknownAddressesPassOnlyIfTheRulesetSaysSo(t *testing.T) {
	r := everyKind()
	r.Unknown = PassUnknown
	if text := r.Nftables(); strings.Contains(text, "!= @pods") {
		t.Errorf("got:\n%s", text)
	}
}

// The kernel judges in a user and network namespace of its own, so the test needs no root and changes nothing.
func TestTheKernelTakesEveryKindOfRule(t *testing.T) {
	long := everyKind()
	long.Pods[0].Name = strings.Repeat("n", 63) + "/" + strings.Repeat("p", 253)
	for name, transactions := range map[string]string{
		"every kind":               everyKindText,
		"nothing known":            Ruleset{PodCIDRs: prefixes("10.244.0.0/16")}.Nftables(),
		"names of maximum length":  long.Nftables(),
		"replaced, removed, again": everyKindText + everyKindText + Removal + Removal + everyKindText,
	} {
		cmd := exec.CommandContext(context.Background(), "unshare", "--user", "--map-root-user", "--net", "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(transactions)
		cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}
