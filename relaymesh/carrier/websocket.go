package carrier

import (
	"context"
	"encoding/binary"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// wsStream is a stream over WebSocket.
type wsStream struct {
	conn *websocket.Conn
	ctx  context.Context //nolint:containedctx // it ends with the stream
	end  context.CancelFunc
}

func newWebSocket(c *websocket.Conn) *wsStream {
	c.SetReadLimit(maxPacket)
	ctx, end := context.WithCancel(context.Background())
	return &wsStream{c, ctx, end}
}

func (s *wsStream) read(b []byte, within time.Duration) (int, error) {
	ctx, cancel := context.WithTimeout(s.ctx, within)
	defer cancel()
	kind, data, err := s.conn.Read(ctx)
	if err != nil {
		return 0, err
	}
	if kind != websocket.MessageBinary || len(data) == 0 {
		return 0, errFrame
	}
	return copy(b, data), nil
}

func (s *wsStream) write(frames []byte) error {
	ctx, cancel := context.WithTimeout(s.ctx, idleTimeout)
	defer cancel()
	for len(frames) > 0 {
		end := 2 + int(binary.BigEndian.Uint16(frames))
		if err := s.conn.Write(ctx, websocket.MessageBinary, frames[2:end]); err != nil {
			return err
		}
		frames = frames[end:]
	}
	return nil
}

func (s *wsStream) close() {
	s.end()
	_ = s.conn.CloseNow()
}

// ServeHTTP takes the request for a WebSocket, which lives on when it has returned.
func (c *Conn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return // it has answered
	}
	if !c.accept(newWebSocket(conn), r.RemoteAddr) {
		_ = conn.Close(websocket.StatusTryAgainLater, "too many connections")
	}
}
