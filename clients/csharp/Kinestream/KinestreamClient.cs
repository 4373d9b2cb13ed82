using System;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.IO;
using System.Net.WebSockets;
using System.Text;
using System.Threading;
using System.Threading.Tasks;

namespace Kinestream
{
    /// <summary>
    /// A character on the WebSocket of `kinestream demo motion --websocket`: its newest pose, steering, clips. It connects
    /// in the background and again when the connection is lost. Every member may be used from any thread, and none waits
    /// for the network; a game loop takes the newest pose once a frame.
    /// </summary>
    public sealed class KinestreamClient : IDisposable
    {
        private const int MaxAnswers = 64;
        private static readonly TimeSpan FirstRetry = TimeSpan.FromMilliseconds(200);
        private static readonly TimeSpan LastRetry = TimeSpan.FromSeconds(4);
        /// <summary>Steering goes out at most this often; it counts for half a second.</summary>
        private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(30);
        /// <summary>The writer wakes at least this often.</summary>
        private static readonly TimeSpan Glance = TimeSpan.FromSeconds(1);
        /// <summary>
        /// A connection is given up when nothing came for so long (the program says something every second), or when the
        /// writer did not get round for so long.
        /// </summary>
        private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

        private readonly Uri address;
        private readonly CancellationTokenSource ending = new CancellationTokenSource();
        private readonly SemaphoreSlim something = new SemaphoreSlim(0, 1);
        private readonly ConcurrentQueue<string> requests = new ConcurrentQueue<string>();
        private readonly ConcurrentQueue<string> answers = new ConcurrentQueue<string>();
        private Task running;
        private string steering;
        private readonly Newest<Pose> newest = new Newest<Pose>("pose");
        private Skeleton skeleton;
        private string problem;
        private long poses;
        private int isConnected;
        private ClientWebSocket current;
        private long heard;
        private long wrote;

        /// <summary>For an address such as ws://127.0.0.1:8750/pose; nothing happens before Start.</summary>
        public KinestreamClient(string address)
        {
            UriBuilder builder = new UriBuilder(address);
            builder.Query = "format=binary";
            this.address = builder.Uri;
        }

        /// <summary>
        /// The newest pose; null before the first. Not changed once it is here: a new one takes its place. Throws
        /// StaleException where it is older than StaleAfter: the program is gone, stands still or pauses.
        /// </summary>
        public Pose NewestPose { get { return newest.Get(); } }

        /// <summary>The newest pose, whatever its age, for whoever only draws; null before the first.</summary>
        public Pose LastPose { get { return newest.Last; } }

        /// <summary>Whether NewestPose would throw.</summary>
        public bool IsStale { get { return newest.IsStale; } }

        /// <summary>How old the newest pose may become, half a second at first; TimeSpan.MaxValue allows any age.</summary>
        public TimeSpan StaleAfter
        {
            get { return newest.StaleAfter; }
            set { newest.StaleAfter = value; }
        }

        /// <summary>The joints that poses turn; null before the first connection.</summary>
        public Skeleton Skeleton { get { return Volatile.Read(ref skeleton); } }

        /// <summary>Whether there is a connection now.</summary>
        public bool IsConnected { get { return Volatile.Read(ref isConnected) != 0; } }

        /// <summary>Why there is no connection, or what could not be read; null if nothing went wrong yet.</summary>
        public string Problem { get { return Volatile.Read(ref problem); } }

        /// <summary>Poses received so far.</summary>
        public long Poses { get { return Interlocked.Read(ref poses); } }

        /// <summary>Connects, until Dispose.</summary>
        public void Start()
        {
            if (running == null)
            {
                running = Task.Run(() => Run());
            }
        }

        /// <summary>
        /// Moves with this velocity (m/s along kinestream's x and z) and looks along `facing` (0, 0: where it moves). It
        /// counts for half a second, so call it every frame while a stick is held; the newest is sent.
        /// Returns false, and nothing is sent, without a connection: it would come too late.
        /// Throws WireException for numbers that are not finite.
        /// </summary>
        public bool Steer(float velocityX, float velocityZ, float facingX = 0.0f, float facingZ = 0.0f)
        {
            string text = "{\"velocity\": [" + Json.Number(velocityX) + ", " + Json.Number(velocityZ) + "], \"facing\": ["
                + Json.Number(facingX) + ", " + Json.Number(facingZ) + "]}";
            Interlocked.Exchange(ref steering, IsConnected ? text : null);
            Wake();
            return IsConnected;
        }

        /// <summary>
        /// Asks it to perform a clip, of a usual length or of `seconds`; the reply comes as an answer. Returns false, and
        /// nothing is asked, without a connection.
        /// </summary>
        public bool Perform(string action, float seconds = 0.0f)
        {
            if (!IsConnected)
            {
                return false;
            }
            string length = seconds > 0.0f ? ", \"seconds\": " + Json.Number(seconds) : "";
            requests.Enqueue("{\"action\": " + Json.Quote(action) + length + "}");
            Wake();
            return true;
        }

        /// <summary>
        /// The next thing that the program said: {"accepted": ...} or {"error": ...}. The newest 64 are kept.
        /// </summary>
        public bool TryTakeAnswer(out string answer)
        {
            return answers.TryDequeue(out answer);
        }

        /// <summary>Says goodbye, and waits a second for it at most.</summary>
        public void Dispose()
        {
            ending.Cancel();
            if (running != null && !running.Wait(TimeSpan.FromSeconds(1)))
            {
                ClientWebSocket socket = Volatile.Read(ref current);
                if (socket != null)
                {
                    socket.Abort();
                }
            }
        }

        private void Wake()
        {
            try
            {
                something.Release();
            }
            catch (SemaphoreFullException)
            {
                // It is awake already.
            }
        }

        private async Task Run()
        {
            TimeSpan retry = FirstRetry;
            while (!ending.IsCancellationRequested)
            {
                using (ClientWebSocket socket = new ClientWebSocket())
                {
                    try
                    {
                        Volatile.Write(ref current, socket);
                        await socket.ConnectAsync(address, ending.Token).ConfigureAwait(false);
                        newest.Restart();
                        Volatile.Write(ref isConnected, 1);
                        retry = FirstRetry;
                        await Attend(socket).ConfigureAwait(false);
                    }
                    catch (Exception error)
                    {
                        // Whatever it was, there is no connection any more, and the next one may do.
                        if (!ending.IsCancellationRequested)
                        {
                            Volatile.Write(ref problem, error.Message);
                        }
                    }
                    Volatile.Write(ref isConnected, 0);
                }
                try
                {
                    await Task.Delay(retry, ending.Token).ConfigureAwait(false);
                }
                catch (OperationCanceledException)
                {
                    return;
                }
                retry = TimeSpan.FromTicks(Math.Min(2 * retry.Ticks, LastRetry.Ticks));
            }
        }

        /// <summary>
        /// Reads and writes until the connection ends. When one of them fails or stands still, so does the connection: else
        /// poses would come and steering would not go, or the other way round.
        /// </summary>
        private async Task Attend(ClientWebSocket socket)
        {
            Note(ref heard);
            Note(ref wrote);
            using (CancellationTokenSource lost = CancellationTokenSource.CreateLinkedTokenSource(ending.Token))
            {
                Task writing = Write(socket, lost.Token);
                Task reading = Read(socket);
                Task ended = await Task.WhenAny(reading, writing).ConfigureAwait(false);
                lost.Cancel();
                if (ended == writing && ending.IsCancellationRequested)
                {
                    // The goodbye has gone out; its answer ends the reading.
                    await Task.WhenAny(reading, Task.Delay(Glance)).ConfigureAwait(false);
                    return;
                }
                socket.Abort();
                // Both have nothing to wait for any more; what they say of it is known.
                Observe(ended == writing ? reading : writing);
                await ended.ConfigureAwait(false);
            }
        }

        private static void Note(ref long moment)
        {
            Volatile.Write(ref moment, Stopwatch.GetTimestamp());
        }

        private static bool IsPast(ref long moment)
        {
            return Stopwatch.GetTimestamp() - Volatile.Read(ref moment) > Patience.TotalSeconds * Stopwatch.Frequency;
        }

        private static void Observe(Task task)
        {
            task.ContinueWith(ended => ended.Exception, TaskContinuationOptions.OnlyOnFaulted);
        }

        private async Task Read(ClientWebSocket socket)
        {
            byte[] chunk = new byte[4096];
            MemoryStream message = new MemoryStream();
            bool isIntroduced = false;
            while (true)
            {
                // Not ended by a token: that would break the connection before a goodbye.
                WebSocketReceiveResult received = await socket.ReceiveAsync(
                    new ArraySegment<byte>(chunk), CancellationToken.None).ConfigureAwait(false);
                Note(ref heard);
                if (IsPast(ref wrote))
                {
                    throw new WireException("nothing could be sent for " + Patience.TotalSeconds + " s");
                }
                if (received.MessageType == WebSocketMessageType.Close)
                {
                    throw new WireException("the program said goodbye: " + socket.CloseStatusDescription);
                }
                message.Write(chunk, 0, received.Count);
                if (message.Length > Message.MaxBytes)
                {
                    throw new WireException("message length: expected at most " + Message.MaxBytes + " bytes");
                }
                if (received.EndOfMessage)
                {
                    if (received.MessageType == WebSocketMessageType.Binary)
                    {
                        TakePose(message.GetBuffer(), (int)message.Length);
                    }
                    else
                    {
                        string text = Encoding.UTF8.GetString(message.GetBuffer(), 0, (int)message.Length);
                        if (isIntroduced)
                        {
                            TakeAnswer(text);
                        }
                        else
                        {
                            // The first message of a connection.
                            Volatile.Write(ref skeleton, Skeleton.Parse(text));
                            isIntroduced = true;
                        }
                    }
                    message.SetLength(0);
                }
            }
        }

        private void TakePose(byte[] bytes, int length)
        {
            Pose pose = Message.Decode(bytes, length) as Pose;
            if (pose == null)
            {
                throw new WireException("kind: expected 6 (pose)");
            }
            newest.Put(pose);
            Interlocked.Increment(ref poses);
        }

        private void TakeAnswer(string text)
        {
            answers.Enqueue(text);
            string oldest;
            while (answers.Count > MaxAnswers && answers.TryDequeue(out oldest))
            {
            }
        }

        private async Task Write(ClientWebSocket socket, CancellationToken lost)
        {
            try
            {
                while (true)
                {
                    await something.WaitAsync(Glance, lost).ConfigureAwait(false);
                    Note(ref wrote);
                    if (IsPast(ref heard))
                    {
                        throw new WireException("the program said nothing for " + Patience.TotalSeconds + " s");
                    }
                    string request;
                    while (requests.TryDequeue(out request))
                    {
                        await Say(socket, request).ConfigureAwait(false);
                    }
                    string steer = Interlocked.Exchange(ref steering, null);
                    if (steer != null)
                    {
                        await Say(socket, steer).ConfigureAwait(false);
                        await Task.Delay(Interval, lost).ConfigureAwait(false);
                    }
                }
            }
            finally
            {
                if (ending.IsCancellationRequested && socket.State == WebSocketState.Open)
                {
                    await socket.CloseOutputAsync(
                        WebSocketCloseStatus.NormalClosure, "", CancellationToken.None).ConfigureAwait(false);
                }
            }
        }

        private static Task Say(ClientWebSocket socket, string text)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(text);
            return socket.SendAsync(
                new ArraySegment<byte>(bytes), WebSocketMessageType.Text, true, CancellationToken.None);
        }
    }
}
