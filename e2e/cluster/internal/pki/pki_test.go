package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
)

func parse(t *testing.T, certificate []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(certificate)
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestACertificateSpeaksForItsIdentityOnly(t *testing.T) {
	authority, err := NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.Certificate())
	server, err := authority.Issue(Identity{User: "system:node:a", Groups: []string{"system:nodes"}, Hosts: []string{"10.0.0.1", "a.test"}})
	if err != nil {
		t.Fatal(err)
	}
	certificate := parse(t, server.Certificate)
	if certificate.Subject.CommonName != "system:node:a" || certificate.Subject.Organization[0] != "system:nodes" {
		t.Errorf("it speaks for %s", certificate.Subject)
	}
	for _, host := range []string{"10.0.0.1", "a.test"} {
		if _, err := certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Error(err)
		}
	}
	if _, err := certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: "b.test"}); err == nil {
		t.Error("it is good for a host that it does not name")
	}
	client, err := authority.Issue(Identity{User: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	asServer := x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if _, err := parse(t, client.Certificate).Verify(asServer); err == nil {
		t.Error("a client's certificate is good for a server")
	}
	stranger, err := NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	others := x509.NewCertPool()
	others.AppendCertsFromPEM(stranger.Certificate())
	if _, err := certificate.Verify(x509.VerifyOptions{Roots: others, DNSName: "a.test"}); err == nil {
		t.Error("another authority's word is good for it")
	}
}

func TestAWrittenKeyIsReadableByItsOwnerOnlyAndFitsItsCertificate(t *testing.T) {
	authority, err := NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue(Identity{User: "x"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := pair.Write(dir, "x"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "x.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := tls.LoadX509KeyPair(filepath.Join(dir, "x.crt"), filepath.Join(dir, "x.key")); err != nil {
		t.Error(err)
	}
}
