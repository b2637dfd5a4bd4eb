// Command pause is all that the local cluster's own image contains.
//
// As /pause it holds a pod's namespaces open: it reaps orphans and waits for a
// signal. As /bin/sh it is the helper of the volume provisioner, which runs
// "/bin/sh /script/setup|teardown" with VOL_DIR set: it makes or removes that
// one directory. A real shell would need an image from a registry.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	if len(os.Args) > 1 {
		if err := volume(os.Args[1], os.Getenv("VOL_DIR")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	wait()
}

// volume does what the provisioner's two scripts do, and nothing else.
func volume(script, dir string) error {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) == "/" {
		return fmt.Errorf("VOL_DIR must be an absolute path below /, not %q", dir)
	}
	switch filepath.Base(script) {
	case "setup":
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
		// MkdirAll obeys the umask; the pods' users must be able to write.
		return os.Chmod(dir, 0o777)
	case "teardown":
		return os.RemoveAll(dir)
	}
	return fmt.Errorf("this image runs only /script/setup and /script/teardown, not %q", script)
}

func wait() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 || err != nil {
				break
			}
		}
	}
}
