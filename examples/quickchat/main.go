// Command quickchat is the second quick start: a chat in under ten lines.
//
//	go run ./examples/quickchat alice            prints a ticket
//	go run ./examples/quickchat bob TICKET
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/2xppg/xppg/api"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: quickchat NAME [HOST:PORT, TICKET or PEER ID]")
	}
	chat := api.NewQuickChat(os.Args[1])
	chat.OnMessage(func(from, text string) { fmt.Println(from+":", text) })
	for _, target := range os.Args[2:] {
		if err := chat.Connect(target); err != nil {
			log.Fatal(err)
		}
	}
	if err := chat.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
}
