package state_test

import (
	"fmt"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/state"
)

func ExampleService_Open() {
	service := state.NewService(state.ServiceConfig{Identity: kcptransport.IdentityFromSeed([32]byte{1})})
	defer service.Close()
	scores, err := service.Open(state.Config{Name: "scores"})
	if err != nil {
		panic(err)
	}
	scores.Set("alice", 3)
	scores.Set("bob", 5)
	scores.Delete("alice")

	var n int
	ok, _ := scores.Get("bob", &n)
	fmt.Println(scores.Keys(""), n, ok)
	// Output: [bob] 5 true
}
