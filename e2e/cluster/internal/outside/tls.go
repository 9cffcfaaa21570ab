package outside

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// lifetime of a host's certificates: longer than any cluster of tests lives.
const lifetime = 30 * 24 * time.Hour

// identity is what a host shows to peers that speak TLS, and the authority that vouches for it.
type identity struct {
	certificate tls.Certificate
	// authority is the authority's certificate, in PEM.
	authority []byte
}

// newIdentity makes an authority of the host's own, which signs one certificate for the host's full name.
func newIdentity(h Host) (identity, error) {
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return identity{}, fmt.Errorf("make the authority's key: %w", err)
	}
	authority := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of " + h.Domain()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lifetime),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	authorityDER, err := x509.CreateCertificate(rand.Reader, &authority, &authority, authorityKey.Public(), authorityKey)
	if err != nil {
		return identity{}, fmt.Errorf("sign the authority's certificate: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return identity{}, fmt.Errorf("make the host's key: %w", err)
	}
	leaf := x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: h.Domain()}, DNSNames: []string{h.Domain()},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, &leaf, &authority, key.Public(), authorityKey)
	if err != nil {
		return identity{}, fmt.Errorf("sign the host's certificate: %w", err)
	}
	return identity{
		certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		authority:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authorityDER}),
	}, nil
}
