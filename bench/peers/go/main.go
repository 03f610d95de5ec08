// The strongest peer: Go without an SDK. Objects are read ahead in order, large ones in ranges, stored by archive/zip,
// and four parts are on their way at once. Requests are signed (SigV4, the day's key kept), payloads are not hashed.
//
//	peer ENDPOINT LOAD COUNT SIZE JOBS KEY_PREFIX
package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	piece      = 8 << 20  // of a ranged read, and of a part
	bodies     = 96 << 20 // read ahead, all jobs together
	atOnce     = 4        // parts of one archive
	jobsAtOnce = 20       // archives at once
	sources    = "/bench-source/"
	archives   = "/bench-archives/"
)

var (
	endpoint, load, prefix string
	count, size, jobs      int
	pool                   = sync.Pool{New: func() any { return make([]byte, piece) }}
	client                 = &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 128, DisableCompression: true, ReadBufferSize: 32 << 10,
	}}
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func send(method, target string, body []byte, headers ...string) *http.Response {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	request := must(http.NewRequest(method, endpoint+target, reader))
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	sign(request)
	response := must(client.Do(request))
	if response.StatusCode/100 != 2 {
		panic(method + " " + target + ": " + response.Status)
	}
	return response
}

// A read in flight: its bytes (a buffer of the pool) come through the channel.
type reading chan []byte

func read(name string, from, to int) []byte {
	response := send("GET", sources+name, nil, "Range", "bytes="+strconv.Itoa(from)+"-"+strconv.Itoa(to-1))
	defer response.Body.Close()
	buffer := pool.Get().([]byte)
	must(io.ReadFull(response.Body, buffer[:to-from]))
	must(io.Copy(io.Discard, response.Body)) // its end, so that the connection is kept
	return buffer[:to-from]
}

// readAhead starts reads in order, as many as window has room for; the reader of the channel makes room.
func readAhead(names []string, window chan struct{}) chan reading {
	started := make(chan reading, cap(window))
	go func() {
		for _, name := range names {
			for from := 0; from < size; from += piece {
				window <- struct{}{}
				one := make(reading, 1)
				started <- one
				go func() { one <- read(name, from, min(from+piece, size)) }()
			}
		}
	}()
	return started
}

// parts is where the zip goes: filled buffers are uploaded while the next one is filled.
type parts struct {
	key, id string
	buffer  []byte
	room    chan struct{}
	sent    sync.WaitGroup
	mutex   sync.Mutex
	etags   []string
}

func begin(key string) *parts {
	var answer struct{ UploadId string }
	response := send("POST", archives+key+"?uploads=", nil)
	defer response.Body.Close()
	must(0, xml.NewDecoder(response.Body).Decode(&answer))
	return &parts{key: key, id: answer.UploadId, room: make(chan struct{}, atOnce), buffer: pool.Get().([]byte)[:0]}
}

func (p *parts) Write(data []byte) (int, error) {
	written := len(data)
	for len(data) > 0 {
		n := copy(p.buffer[len(p.buffer):piece], data)
		p.buffer, data = p.buffer[:len(p.buffer)+n], data[n:]
		if len(p.buffer) == piece {
			p.flush()
		}
	}
	return written, nil
}

func (p *parts) flush() {
	p.room <- struct{}{}
	p.etags = append(p.etags, "")
	body, number := p.buffer, len(p.etags)
	p.buffer = pool.Get().([]byte)[:0]
	p.sent.Add(1)
	go func() {
		defer p.sent.Done()
		response := send("PUT", fmt.Sprintf("%s%s?partNumber=%d&uploadId=%s", archives, p.key, number, p.id), body)
		response.Body.Close()
		p.mutex.Lock()
		p.etags[number-1] = response.Header.Get("ETag")
		p.mutex.Unlock()
		pool.Put(body[:piece])
		<-p.room
	}()
}

func (p *parts) complete() {
	if len(p.buffer) > 0 {
		p.flush()
	}
	p.sent.Wait()
	var list strings.Builder
	for i, etag := range p.etags {
		fmt.Fprintf(&list, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, etag)
	}
	body := "<CompleteMultipartUpload>" + list.String() + "</CompleteMultipartUpload>"
	response := send("POST", archives+p.key+"?uploadId="+p.id, []byte(body))
	must(io.Copy(io.Discard, response.Body))
	response.Body.Close()
}

func archive(job int) string {
	var names []string
	for i := count * job / jobs; i < count*(job+1)/jobs; i++ {
		names = append(names, fmt.Sprintf("%s/%06d.jpg", load, i))
	}
	window := make(chan struct{}, max(2, min(32, bodies/min(size, piece))/min(jobs, jobsAtOnce)))
	ahead := readAhead(names, window)
	out := begin(fmt.Sprintf("%s/%d.zip", prefix, job))
	archive := zip.NewWriter(out)
	for _, name := range names {
		header := &zip.FileHeader{Name: name, CompressedSize64: uint64(size), UncompressedSize64: uint64(size)}
		header.SetMode(0o644)
		if size > piece {
			header.Flags |= 8 // the CRC is known only behind the content
		}
		var entry io.Writer
		for from := 0; from < size; from += piece {
			data := <-<-ahead
			header.CRC32 = crc32.Update(header.CRC32, crc32.IEEETable, data)
			if entry == nil {
				entry = must(archive.CreateRaw(header))
			}
			must(entry.Write(data))
			pool.Put(data[:piece])
			<-window
		}
	}
	must(0, archive.Close())
	out.complete()
	return out.key
}

func cpu() float64 {
	var usage syscall.Rusage
	must(0, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func main() {
	endpoint, load, prefix = os.Args[1], os.Args[2], os.Args[6]
	count, size, jobs = must(strconv.Atoi(os.Args[3])), must(strconv.Atoi(os.Args[4])), must(strconv.Atoi(os.Args[5]))
	wall, before := time.Now(), cpu()
	keys := make([]string, jobs)
	var all sync.WaitGroup
	room := make(chan struct{}, jobsAtOnce)
	for job := range keys {
		all.Add(1)
		room <- struct{}{}
		go func() {
			defer all.Done()
			keys[job] = archive(job)
			<-room
		}()
	}
	all.Wait()
	result := map[string]any{"wall_s": time.Since(wall).Seconds(), "cpu_s": cpu() - before, "keys": keys}
	must(0, json.NewEncoder(os.Stdout).Encode(result))
}
