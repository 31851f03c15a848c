package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"time"
)

// tlsLoopback is what the system's own TCP manages with the same encryption.
func tlsLoopback(ctx context.Context) (*pipe, error) {
	serverTLS, clientTLS, err := tlsConfigs()
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &pipe{}
	p.onClose(listener.Close)
	open := func() (io.ReadWriter, error) {
		d := tls.Dialer{Config: clientTLS}
		c, err := d.DialContext(ctx, "tcp4", listener.Addr().String())
		if err != nil {
			return nil, err
		}
		p.onClose(c.Close)
		return c, nil
	}
	accept := func() (io.ReadWriter, error) {
		raw, err := listener.Accept()
		if err != nil {
			return nil, err
		}
		c := tls.Server(raw, serverTLS)
		p.onClose(c.Close)
		return c, nil
	}
	return p.meet(ctx, open, accept)
}

// tlsConfigs returns the two sides' configurations, which use AES-GCM where the machine has it in hardware. They are
// made once.
var tlsConfigs = func() func() (server, client *tls.Config, err error) {
	make := sync.OnceValues(newCertificate)
	return func() (*tls.Config, *tls.Config, error) {
		cert, err := make()
		if err != nil {
			return nil, nil, err
		}
		roots := x509.NewCertPool()
		roots.AddCert(cert.Leaf)
		protocols := []string{"bench"}
		server := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, NextProtos: protocols}
		client := &tls.Config{RootCAs: roots, ServerName: "bench", MinVersion: tls.VersionTLS13, NextProtos: protocols}
		return server, client, nil
	}
}()

// newCertificate signs a certificate with its own key, good for a day.
func newCertificate() (tls.Certificate, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, DNSNames: []string{"bench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}, err
}
