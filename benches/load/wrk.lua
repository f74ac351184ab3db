-- One script for every scenario that wrk drives.
-- Arguments after `--`: METHOD BODY_BYTES ["Name: value" ...]. Prints one line of JSON at the end.

function init(args)
   wrk.method = args[1]
   local size = tonumber(args[2])
   if size > 0 then
      wrk.body = string.rep("x", size)
   end
   for i = 3, #args do
      local name, value = args[i]:match("^([^:]+): (.*)$")
      wrk.headers[name] = value
   end
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"requests":%d,"duration_us":%d,"connect_errors":%d,"read_errors":%d,"write_errors":%d,' ..
      '"timeouts":%d,"status_errors":%d,"p50_us":%.1f,"p99_us":%.1f}\n',
      summary.requests, summary.duration, errors.connect, errors.read, errors.write,
      errors.timeout, errors.status, latency:percentile(50), latency:percentile(99)))
end
