package ruleset

import (
	"fmt"
	"net/netip"
	"strings"
)

// Table is the name of the one nftables table (family inet) that the filter lives in.
const Table = "sallyport-policy"

// Removal is the transaction that takes the filter away. It succeeds when there is none.
const Removal = "table inet " + Table + "\ndelete table inet " + Table + "\n"

// Nftables returns the transaction (input of `nft -f`) that replaces the filter as a whole. The same ruleset gives the
// same text.
//
// Each direction has base chains of its own, because `accept` ends only the base chain that it is reached from: a
// packet that egress accepts still has to pass ingress. Services are no concern here: kube-proxy has translated the
// destination in prerouting. Connections that the node itself opens leave through the output hook, which the filter does
// not use, so probes and the API server's calls always reach pods.
func (r Ruleset) Nftables() string {
	w := &writer{}
	w.text(Removal)
	w.open("table inet " + Table)
	for _, f := range families {
		r.writeSets(w, f)
	}
	r.writeBaseChain(w, "egress-to-elsewhere", "forward", Egress)
	r.writeBaseChain(w, "egress-to-this-node", "input", Egress)
	r.writeBaseChain(w, "ingress", "forward", Ingress)
	for i, pod := range r.Pods {
		writePodChain(w, i, pod, Egress)
		writePodChain(w, i, pod, Ingress)
	}
	for i, policy := range r.Policies {
		w.open(fmt.Sprintf("chain policy-%d", i))
		w.comment(policy.Name)
		for _, rule := range policy.Rules {
			writeRule(w, policy.Direction, rule)
		}
		w.close()
	}
	w.open("chain refuse")
	w.line("meta l4proto tcp reject with tcp reset")
	w.line("reject with icmpx admin-prohibited")
	w.close()
	w.close()
	return w.String()
}

// family is what nftables calls the two kinds of addresses.
type family struct {
	suffix, keyword, addrType string
	has                       func(netip.Addr) bool
}

var families = []family{
	{"4", "ip", "ipv4_addr", netip.Addr.Is4},
	{"6", "ip6", "ipv6_addr", netip.Addr.Is6},
}

func (f family) of(addrs []netip.Addr) []string {
	var own []string
	for _, addr := range addrs {
		if f.has(addr) {
			own = append(own, addr.String())
		}
	}
	return own
}

// writeSets writes the known pod addresses, and the maps from an isolated pod's address to its fence.
func (r Ruleset) writeSets(w *writer, f family) {
	var known, egress, ingress []string
	for i, pod := range r.Pods {
		own := f.of(pod.Addrs)
		known = append(known, own...)
		for _, addr := range own {
			if len(pod.Egress) > 0 {
				egress = append(egress, fmt.Sprintf("%s : goto %s", addr, podChain(i, Egress)))
			}
			if len(pod.Ingress) > 0 {
				ingress = append(ingress, fmt.Sprintf("%s : goto %s", addr, podChain(i, Ingress)))
			}
		}
	}
	w.elements("set pods"+f.suffix, f.addrType, known)
	w.elements("map egress"+f.suffix, f.addrType+" : verdict", egress)
	w.elements("map ingress"+f.suffix, f.addrType+" : verdict", ingress)
}

// writeBaseChain writes the chain that packets of one direction enter by a hook, and that finds the pod's fence.
func (r Ruleset) writeBaseChain(w *writer, name, hook string, d Direction) {
	w.open("chain " + name)
	w.line(fmt.Sprintf("type filter hook %s priority filter - %d; policy accept;", hook, map[Direction]int{Egress: 20, Ingress: 10}[d]))
	w.line("ct state established,related accept")
	if hook == "input" {
		w.line("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept")
		// A link-local source does not tell which pod it is, so no fence could apply to it.
		w.line("ip6 saddr fe80::/10 goto refuse")
	}
	own := map[Direction]string{Egress: "saddr", Ingress: "daddr"}[d]
	for _, f := range families {
		for _, cidr := range r.PodCIDRs {
			if r.Unknown == RefuseUnknown && f.has(cidr.Addr()) {
				w.line(fmt.Sprintf("%s %s %s %s %s != @pods%s goto refuse", f.keyword, own, cidr, f.keyword, own, f.suffix))
			}
		}
		w.line(fmt.Sprintf("%s %s vmap @%s%s", f.keyword, own, d, f.suffix))
	}
	w.close()
}

// String names a direction as chains and maps do.
func (d Direction) String() string {
	if d == Ingress {
		return "ingress"
	}
	return "egress"
}

// peerField is the header field that holds the other end's address.
func (d Direction) peerField() string {
	if d == Ingress {
		return "saddr"
	}
	return "daddr"
}

func podChain(i int, d Direction) string { return fmt.Sprintf("pod-%d-%s", i, d) }

// writePodChain writes a pod's fence in one direction, if it is isolated in it.
func writePodChain(w *writer, i int, pod Pod, d Direction) {
	policies := pod.Egress
	if d == Ingress {
		policies = pod.Ingress
	}
	if len(policies) == 0 {
		return
	}
	w.open("chain " + podChain(i, d))
	w.comment(pod.Name)
	for _, f := range families {
		if own := f.of(pod.Addrs); len(own) > 0 {
			w.line(fmt.Sprintf("%s %s { %s } accept", f.keyword, d.peerField(), strings.Join(own, ", ")))
		}
	}
	for _, policy := range policies {
		w.line(fmt.Sprintf("jump policy-%d", policy))
	}
	w.line("goto refuse")
	w.close()
}

// writeRule writes a rule once for each family that it can match in.
func writeRule(w *writer, d Direction, rule Rule) {
	for _, peer := range peerMatches(d, rule.Peer) {
		for _, port := range portMatches(rule.Port) {
			if peer.family != "" && port.family != "" && peer.family != port.family {
				continue
			}
			w.line(strings.Join(strings.Fields(peer.text+" "+port.text+" accept"), " "))
		}
	}
}

// match is an nftables expression and the family that it is bound to, if any.
type match struct{ family, text string }

func peerMatches(d Direction, peer Peer) []match {
	switch peer := peer.(type) {
	case Addrs:
		var matches []match
		for _, f := range families {
			if own := f.of(peer); len(own) > 0 {
				matches = append(matches, match{f.keyword, fmt.Sprintf("%s %s { %s }", f.keyword, d.peerField(), strings.Join(own, ", "))})
			}
		}
		return matches
	case Block:
		for _, f := range families {
			if !f.has(peer.CIDR.Addr()) {
				continue
			}
			field := f.keyword + " " + d.peerField()
			text := field + " " + peer.CIDR.String()
			if peer.CIDR.Bits() == 0 {
				text = map[string]string{"ip": "meta nfproto ipv4", "ip6": "meta nfproto ipv6"}[f.keyword]
			}
			for _, except := range peer.Except {
				text += " " + field + " != " + except.String()
			}
			return []match{{f.keyword, text}}
		}
		return nil
	default:
		return []match{{}}
	}
}

func portMatches(port Port) []match {
	switch port := port.(type) {
	case Ranges:
		if len(port.Ports) == 0 {
			return []match{{text: fmt.Sprintf("meta l4proto %s", port.Protocol)}}
		}
		var ranges []string
		for _, r := range port.Ports {
			if r.First == r.Last {
				ranges = append(ranges, fmt.Sprint(r.First))
			} else {
				ranges = append(ranges, fmt.Sprintf("%d-%d", r.First, r.Last))
			}
		}
		return []match{{text: fmt.Sprintf("%s dport { %s }", port.Protocol, strings.Join(ranges, ", "))}}
	case Endpoints:
		var matches []match
		for _, f := range families {
			var own []string
			for _, e := range port {
				if f.has(e.Addr) {
					own = append(own, fmt.Sprintf("%s . %s . %d", e.Addr, e.Protocol, e.Port))
				}
			}
			if len(own) > 0 {
				matches = append(matches, match{f.keyword, fmt.Sprintf("%s daddr . meta l4proto . th dport { %s }", f.keyword, strings.Join(own, ", "))})
			}
		}
		return matches
	default:
		return []match{{}}
	}
}

// writer collects indented lines.
type writer struct {
	strings.Builder
	depth int
}

func (w *writer) text(s string) { w.WriteString(s) }
func (w *writer) line(s string) { w.WriteString(strings.Repeat("\t", w.depth) + s + "\n") }
func (w *writer) open(s string) { w.line(s + " {"); w.depth++ }
func (w *writer) close()        { w.depth--; w.line("}") }

// commentLimit is nftables' limit of a comment, in bytes.
const commentLimit = 120

func (w *writer) comment(s string) {
	w.line(fmt.Sprintf("comment %q", s[:min(len(s), commentLimit)]))
}

func (w *writer) elements(head, keyType string, elements []string) {
	w.open(head)
	w.line("type " + keyType)
	if len(elements) > 0 {
		w.line("elements = { " + strings.Join(elements, ", ") + " }")
	}
	w.close()
}
