package chunks_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/2xppg/xppg/chunks"
	"github.com/2xppg/xppg/kcptransport"
)

// Alice shares a folder; Bob fetches it on a stream to her. Streams come from a kcptransport.Link in practice.
func Example() {
	ctx := context.Background()
	alice, bob := tempDir("photos/cat.jpg", "meow"), tempDir("", "")
	defer os.RemoveAll(alice)
	defer os.RemoveAll(bob)

	content, err := chunks.Add(ctx, chunks.AddConfig{Paths: []string{filepath.Join(alice, "photos")}})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := chunks.NewServer(chunks.ServerConfig{})
	defer server.Close()
	server.Add(content)
	fmt.Println("root", content.Root().Short())

	aliceID := kcptransport.PeerID{1}
	open := func(_ context.Context, _ kcptransport.PeerID, _ string) (chunks.Stream, error) {
		here, there := tcpPipe()
		go server.ServeStream(ctx, kcptransport.PeerID{2}, there)
		return here, nil
	}
	result, err := chunks.Fetch(ctx, chunks.FetchConfig{
		Root:    content.Root(),
		Dir:     bob,
		Opener:  chunks.OpenerFunc(open),
		Sources: func() []kcptransport.PeerID { return []kcptransport.PeerID{aliceID} },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	b, _ := os.ReadFile(filepath.Join(bob, "photos", "cat.jpg"))
	fmt.Printf("%d bytes: %s\n", result.Bytes, b)
	// Output:
	// root bj46b2pm
	// 4 bytes: meow
}

func tempDir(path, content string) string {
	dir, err := os.MkdirTemp("", "example")
	if err == nil && path != "" {
		err = os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755)
		os.WriteFile(filepath.Join(dir, path), []byte(content), 0o644)
		os.Chmod(filepath.Join(dir, path), 0o644)
	}
	if err != nil {
		panic(err)
	}
	return dir
}

// tcpPipe returns the two ends of a connection that can be closed by halves.
func tcpPipe() (a, b *net.TCPConn) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		panic(err)
	}
	defer l.Close()
	accepted := make(chan *net.TCPConn)
	go func() {
		c, _ := l.AcceptTCP()
		accepted <- c
	}()
	a, err = net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		panic(err)
	}
	return a, <-accepted
}
