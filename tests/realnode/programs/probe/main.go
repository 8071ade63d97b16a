// What runs in the test cluster's own images, without a shell around it.
//
//	probe pause                  hold a pod's namespaces and reap what is left in them
//	probe serve                  answer HTTP on PORT until SIGTERM, then for DRAIN_SECONDS more
//	probe get URL                print an answer; status 1 and the reason when there is none
//	probe load URL SECONDS       ask all the time; print how often it was answered and not
//	probe dial HOST:PORT         connect within 2 s
//	probe write PATH MEGABYTES   fill a file
//	probe text PATH [WORDS]      print a file, or write it
//	probe status                 print what the kernel says about this process's rights
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var eaten [][]byte

func main() {
	if len(os.Args) < 2 {
		fail("probe pause | serve | get | load | dial | write | text | status")
	}
	switch arguments := os.Args[2:]; os.Args[1] {
	case "pause":
		pause()
	case "serve":
		serve()
	case "get":
		get(arguments[0])
	case "load":
		load(arguments[0], time.Duration(number(arguments[1]))*time.Second)
	case "dial":
		connection, err := net.DialTimeout("tcp", arguments[0], 2*time.Second)
		check(err)
		connection.Close()
		fmt.Println("connected")
	case "write":
		check(write(arguments[0], number(arguments[1])))
		serve()
	case "text":
		if len(arguments) > 1 {
			check(os.WriteFile(arguments[0], []byte(strings.Join(arguments[1:], " ")+"\n"), 0o640))
		}
		content, err := os.ReadFile(arguments[0])
		check(err)
		fmt.Print(string(content))
	case "status":
		content, err := os.ReadFile("/proc/self/status")
		check(err)
		fmt.Print(string(content))
	default:
		fail("no such command: " + os.Args[1])
	}
}

func pause() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}

func serve() {
	name, _ := os.Hostname()
	http.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s %s\n", name, os.Getenv("VERSION"))
	})
	http.HandleFunc("/eat", func(w http.ResponseWriter, r *http.Request) {
		for range number(r.URL.Query().Get("megabytes")) {
			part := make([]byte, 1<<20)
			for i := 0; i < len(part); i += 4096 {
				part[i] = 1
			}
			eaten = append(eaten, part)
		}
	})
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		<-terminated
		fmt.Println("SIGTERM: draining")
		time.Sleep(time.Duration(number(os.Getenv("DRAIN_SECONDS"))) * time.Second)
		fmt.Println("drained")
		os.Exit(0)
	}()
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	fmt.Println("serving")
	check(http.ListenAndServe(":"+port, nil))
}

func get(url string) {
	client := http.Client{Timeout: 3 * time.Second}
	answer, err := client.Get(url)
	check(err)
	defer answer.Body.Close()
	_, err = io.Copy(os.Stdout, answer.Body)
	check(err)
	if answer.StatusCode != http.StatusOK {
		fail(answer.Status)
	}
}

func load(url string, length time.Duration) {
	// A connection for each request: one that is kept would never see a new pod.
	client := http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answered, failed := 0, 0
	for end := time.Now().Add(length); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		answer, err := client.Get(url)
		if err == nil {
			_, err = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
		if err == nil && answer.StatusCode == http.StatusOK {
			answered++
			continue
		}
		failed++
		fmt.Fprintln(os.Stderr, err)
	}
	fmt.Println(answered, failed)
}

func write(path string, megabytes int) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	part := make([]byte, 1<<20)
	for range megabytes {
		if _, err := file.Write(part); err != nil {
			return err
		}
	}
	return file.Sync()
}

func number(text string) int {
	if text == "" {
		return 0
	}
	found, err := strconv.Atoi(text)
	check(err)
	return found
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(reason string) {
	fmt.Fprintln(os.Stderr, reason)
	os.Exit(1)
}
