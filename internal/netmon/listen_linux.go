package netmon

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// groups are the multicast groups of rtnetlink(7) that we join.
const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE

// listen passes on what the kernel says, until what it returns is closed. It reports whether the kernel will say anything.
func listen(tell func(hint)) (io.Closer, bool) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, false
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, false
	}
	l := &listener{f: os.NewFile(uintptr(fd), "rtnetlink"), done: make(chan struct{})}
	go l.run(tell)
	return l, true
}

type listener struct {
	f    *os.File
	done chan struct{}
}

func (l *listener) run(tell func(hint)) {
	defer close(l.done)
	buf := make([]byte, 64<<10)
	for {
		n, err := l.f.Read(buf)
		switch {
		case errors.Is(err, unix.ENOBUFS): // there was more than we could read
			tell(hint{rerouted: true})
		case err != nil:
			return
		default:
			if h, ok := parse(buf[:n]); ok {
				tell(h)
			}
		}
	}
}

// Close ends run and waits for it.
func (l *listener) Close() error {
	err := l.f.Close()
	<-l.done
	return err
}

// parse reads what the kernel said, and reports whether it is worth a look.
func parse(b []byte) (h hint, ok bool) {
	messages, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return hint{}, true
	}
	for _, m := range messages {
		switch m.Header.Type {
		case unix.RTM_NEWADDR, unix.RTM_DELADDR, unix.RTM_NEWLINK, unix.RTM_DELLINK:
			ok = true
		case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
			if defaultRoute(m.Data) {
				h.rerouted, ok = true, true
			}
		}
	}
	return h, ok
}

// defaultRoute reports whether the body of a route message (struct rtmsg) is about a route to everywhere in the main table.
func defaultRoute(b []byte) bool {
	if len(b) < unix.SizeofRtMsg {
		return false
	}
	prefix, table, kind := b[1], b[4], b[7]
	return prefix == 0 && table == unix.RT_TABLE_MAIN && kind == unix.RTN_UNICAST
}
