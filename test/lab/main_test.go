//go:build linux

package lab

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/2xppg/xppg/internal/leaks"
)

// atOnce is how many worlds there are at a time unless -parallel says another
// number: they wait more than they work.
const atOnce = "5"

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Getenv("XPPG_LAB") != "1" || os.Geteuid() != 0 {
		return m.Run() // every test says why it is skipped
	}
	if err := removeLeftovers(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "xppg-lab")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program.dir = dir
	setParallel()
	return leaks.Checked{M: m}.Run()
}

// setParallel replaces the default of -parallel, which is the number of CPUs.
func setParallel() {
	flag.Parse()
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "test.parallel" })
	if !set {
		_ = flag.Set("test.parallel", atOnce) // the flag exists and takes numbers
	}
}

func needLab(t *testing.T) {
	t.Helper()
	if os.Getenv("XPPG_LAB") != "1" || os.Geteuid() != 0 {
		t.Skip("needs root and network namespaces; run as root: XPPG_LAB=1 go test -v ./test/lab")
	}
}

// program is the xppg under test, built when a test first asks for it.
var program struct {
	dir  string
	once sync.Once
	path string
	err  error
}

// xppg returns the path of the program.
func xppg(t *testing.T) string {
	t.Helper()
	program.once.Do(func() {
		program.path = filepath.Join(program.dir, "xppg")
		out, err := exec.Command("go", "build", "-o", program.path, "../../cmd/xppg").CombinedOutput()
		if err != nil {
			program.err = fmt.Errorf("lab: build xppg: %w\n%s", err, out)
		}
	})
	if program.err != nil {
		t.Fatal(program.err)
	}
	return program.path
}
