package outside

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// keptData is how much of what a peer sends is written down, in bytes.
	keptData = 4096
	// idle is how long a peer may be silent before its connection is closed.
	idle = 10 * time.Second
	// dnsPort is the UDP port on which a host answers as a name server.
	dnsPort = 53
)

// dnsAnswer is what every name resolves to at a host that serves DNS.
var dnsAnswer = [4]byte{203, 0, 113, 1}

// Record is one line of a host's log: one TCP connection or one UDP datagram.
type Record struct {
	Time  time.Time `json:"time"`
	Proto string    `json:"proto"`
	Port  uint16    `json:"port"`
	// Peer is the sender's address and port.
	Peer string `json:"peer"`
	// TLS says that the peer spoke TLS, which the host ended: Bytes and Data then speak of what was inside.
	TLS bool `json:"tls,omitempty"`
	// Bytes counts all that was sent; Data holds its first 4 KiB, with what is not UTF-8 replaced.
	Bytes int    `json:"bytes"`
	Data  string `json:"data"`
}

// Sink accepts everything that is sent to a host and writes it down.
type Sink struct {
	Host Host
	// Log gets one Record a line.
	Log io.Writer
	// AuthorityFile gets the certificate, in PEM, of the authority that vouches for the host towards peers that speak
	// TLS. None is written if it is empty.
	AuthorityFile string

	mu       sync.Mutex
	identity identity
}

// Serve listens on all of the host's ports, in this process's network, and calls ready once all are open. It returns
// when ctx ends or a port cannot be opened.
func (s *Sink) Serve(ctx context.Context, ready func() error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var err error
	if s.identity, err = newIdentity(s.Host); err != nil {
		return err
	}
	if s.AuthorityFile != "" {
		if err := os.WriteFile(s.AuthorityFile, s.identity.authority, 0o644); err != nil {
			return fmt.Errorf("write the authority's certificate: %w", err)
		}
	}
	for _, port := range s.Host.TCP {
		listener, err := net.ListenTCP("tcp4", &net.TCPAddr{Port: int(port)})
		if err != nil {
			return fmt.Errorf("open TCP port %d: %w", port, err)
		}
		defer listener.Close()
		go func() { cancel(s.acceptTCP(listener, port)) }()
	}
	for _, port := range s.Host.UDP {
		socket, err := net.ListenUDP("udp4", &net.UDPAddr{Port: int(port)})
		if err != nil {
			return fmt.Errorf("open UDP port %d: %w", port, err)
		}
		defer socket.Close()
		go func() { cancel(s.receiveUDP(socket, port)) }()
	}
	if err := ready(); err != nil {
		return err
	}
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (s *Sink) greeting() string { return "ok from " + s.Host.Name + "\n" }

func (s *Sink) acceptTCP(listener *net.TCPListener, port uint16) error {
	for {
		connection, err := listener.AcceptTCP()
		if err != nil {
			return fmt.Errorf("accept on TCP port %d: %w", port, err)
		}
		go func() {
			defer connection.Close()
			got := &recorder{from: connection}
			record := Record{Proto: "tcp", Port: port, Peer: connection.RemoteAddr().String()}
			outer := bufio.NewReader(got)
			if start, _ := outer.Peek(1); len(start) == 1 && start[0] == handshakeRecord {
				inside := tls.Server(&peeked{TCPConn: connection, reader: outer}, &tls.Config{Certificates: []tls.Certificate{s.identity.certificate}})
				within := &recorder{from: inside}
				s.answer(inside, bufio.NewReader(within))
				// Says that nothing more comes, as a TLS peer expects it.
				_ = inside.Close()
				// A peer that refuses the certificate said nothing inside; what it sent is then what arrived.
				if inside.ConnectionState().HandshakeComplete {
					record.TLS, got = true, within
				}
			} else {
				s.answer(connection, outer)
			}
			record.Time, record.Bytes, record.Data = time.Now().UTC(), got.bytes, lossy(got.data)
			s.write(record)
		}()
	}
}

// handshakeRecord is the first byte of a TLS connection (RFC 8446 section 5.1).
const handshakeRecord = 22

// peeked is a connection of which some was read ahead.
type peeked struct {
	*net.TCPConn
	reader *bufio.Reader
}

func (p *peeked) Read(b []byte) (int, error) { return p.reader.Read(b) }

// answer speaks HTTP to a peer that does, and otherwise says its greeting once and listens until the peer has finished.
func (s *Sink) answer(connection io.Writer, reader *bufio.Reader) {
	if start, _ := reader.Peek(4); looksLikeHTTP(start) {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, request.Body)
		body, kind := s.greeting(), "text/plain; charset=utf-8"
		if s.Host.JSON != "" {
			body, kind = s.Host.JSON, "application/json"
		}
		response := http.Response{
			StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Close: true, Request: request,
			Header:        http.Header{"Content-Type": {kind}},
			ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)),
		}
		_ = response.Write(connection)
		return
	}
	_, _ = io.WriteString(connection, s.greeting())
	_, _ = io.Copy(io.Discard, reader)
}

func looksLikeHTTP(start []byte) bool {
	for _, method := range []string{"GET ", "HEAD", "POST", "PUT ", "DELE", "OPTI", "PATC"} {
		if string(start) == method {
			return true
		}
	}
	return false
}

// recorder keeps the beginning of what is read through it, and gives up when nothing comes for a while.
type recorder struct {
	from  net.Conn
	bytes int
	data  []byte
}

func (r *recorder) Read(p []byte) (int, error) {
	if err := r.from.SetReadDeadline(time.Now().Add(idle)); err != nil {
		return 0, err
	}
	n, err := r.from.Read(p)
	r.bytes += n
	if room := keptData - len(r.data); room > 0 {
		r.data = append(r.data, p[:min(n, room)]...)
	}
	return n, err
}

func (s *Sink) receiveUDP(socket *net.UDPConn, port uint16) error {
	buffer := make([]byte, 65535)
	for {
		n, peer, err := socket.ReadFromUDP(buffer)
		if err != nil {
			return fmt.Errorf("receive on UDP port %d: %w", port, err)
		}
		data := bytes.Clone(buffer[:n])
		reply := []byte(s.greeting())
		if port == dnsPort {
			reply = answerDNS(data)
		}
		if reply != nil {
			_, _ = socket.WriteToUDP(reply, peer)
		}
		s.write(Record{
			Time: time.Now().UTC(), Proto: "udp", Port: port, Peer: peer.String(),
			Bytes: n, Data: lossy(data[:min(n, keptData)]),
		})
	}
}

// answerDNS resolves every name to dnsAnswer. Nil: the question cannot be read.
func answerDNS(query []byte) []byte {
	var parser dnsmessage.Parser
	header, err := parser.Start(query)
	if err != nil || header.Response {
		return nil
	}
	question, err := parser.Question()
	if err != nil {
		return nil
	}
	reply := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: header.ID, Response: true, Authoritative: true, RecursionDesired: header.RecursionDesired, RecursionAvailable: true,
		},
		Questions: []dnsmessage.Question{question},
	}
	if question.Type == dnsmessage.TypeA {
		reply.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: question.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: dnsAnswer},
		}}
	}
	packed, err := reply.Pack()
	if err != nil {
		return nil
	}
	return packed
}

func (s *Sink) write(r Record) {
	line, err := json.Marshal(r)
	if err != nil {
		fmt.Fprintln(os.Stderr, "describe what was received:", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.Log.Write(append(line, '\n')); err != nil {
		fmt.Fprintln(os.Stderr, "write down what was received:", err)
	}
}

func lossy(data []byte) string { return strings.ToValidUTF8(string(data), "\uFFFD") }
