package browser

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// TestAShiftDoesNotFillThePage sends a page the changes of a long time as fast as it takes them.
func TestAShiftDoesNotFillThePage(t *testing.T) {
	needChromium(t)
	n := goodDay()
	address, _ := serve(t, n, "127.0.0.1:0", t.TempDir())
	good := record(t, address)
	n.change(down)
	bad := record(t, address)

	origin, _ := url.Parse("http://" + address)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(origin); r.Out.Host = origin.Host }}
	var sent atomic.Int64
	weighed := make(chan struct{})
	title := func(w http.ResponseWriter, title string) {
		_, _ = fmt.Fprintf(w, "event: patch\ndata: {\"at\":1,\"title\":%q,\"html\":{}}\n\n", title)
		_ = http.NewResponseController(w).Flush()
	}
	mux := http.NewServeMux()
	mux.Handle("/", proxy)
	mux.HandleFunc("/live/board", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; i < updates && r.Context().Err() == nil; i++ {
			if i == updates/10 { // it is weighed when it has taken what came until now, and no more than that: so it is at the end
				title(w, "a tenth")
				select {
				case <-weighed:
				case <-r.Context().Done():
				}
			}
			picture := good
			if i%2 == 1 {
				picture = bad
			}
			if _, err := io.WriteString(w, picture); err != nil {
				return
			}
			sent.Store(int64(i + 1))
		}
		title(w, "over")
		<-r.Context().Done()
	})
	front := httptest.NewServer(mux)
	defer func() { front.CloseClientConnections(); front.Close() }()

	b := newTab(t, front.URL)
	_, _ = chromedp.Run(b.ctx, chromedp.Evaluate[bool](fmt.Sprintf("location.href = %q, true", front.URL+"/"))) // not Navigate: the flood begins before the page has loaded
	says := func(title string) func() bool {
		return func() bool {
			now, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.title`)) // an error: the page is on its way
			return err == nil && now == title
		}
	}
	b.waitLong(says("a tenth"))
	before := b.heap()
	close(weighed)
	b.waitLong(says("over"))
	after := b.heap()
	_, _ = chromedp.Run(b.ctx, chromedp.Evaluate[bool](`location.href = "about:blank", true`)) // it would come back for more
	t.Logf("%d updates: the page's heap went from %.1f to %.1f MB", sent.Load(), before/1e6, after/1e6)
	if after > before+2e6 {
		t.Errorf("the page's heap grew from %.1f to %.1f MB in %d updates, want no growth", before/1e6, after/1e6, sent.Load())
	}
}

// record takes the first picture of the live view as it is sent.
func record(t *testing.T, address string) string {
	t.Helper()
	resp, err := http.Get("http://" + address + "/live/board")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "data: ") {
			return "event: patch\n" + line + "\n"
		}
	}
}

// heap is what the page's scripts and nodes hold, swept.
func (b *tab) heap() (bytes float64) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		for range 3 {
			if _, err := chromedp.Call(ctx, heapprofiler.CollectGarbage, none); err != nil {
				return err
			}
		}
		use, err := chromedp.Call(ctx, runtime.GetHeapUsage, none)
		bytes = use.UsedSize + use.EmbedderHeapUsedSize
		return err
	}))
	return bytes
}

// waitLong waits for what takes the page a while.
func (b *tab) waitLong(over func() bool) {
	b.t.Helper()
	for end := time.Now().Add(longWait); !over(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatal("it takes too long")
		}
	}
}
