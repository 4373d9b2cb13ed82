using System;
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;

namespace Kinestream
{
    /// <summary>The newest message is older than is allowed: whoever goes on obeying it is out of control.</summary>
    public sealed class StaleException : TimeoutException
    {
        public StaleException(string problem)
            : base(problem)
        {
        }
    }

    /// <summary>
    /// The newest message of one topic, for any thread. One that is older than a limit is an error and not repeated for ever.
    /// </summary>
    public sealed class Newest<T>
        where T : Message
    {
        private readonly object door = new object();
        private readonly string what;
        private readonly Func<TimeSpan> now;
        private TimeSpan limit;
        private TimeSpan came;
        private T last;
        private bool isSame;

        /// <summary>`what` is named in errors. Half a second is allowed.</summary>
        public Newest(string what)
            : this(what, Clock())
        {
        }

        internal Newest(string what, Func<TimeSpan> now)
        {
            this.what = what;
            this.now = now;
            limit = TimeSpan.FromSeconds(0.5);
        }

        /// <summary>How old the message may become; TimeSpan.MaxValue allows any age.</summary>
        public TimeSpan StaleAfter
        {
            get
            {
                lock (door)
                {
                    return limit;
                }
            }

            set
            {
                if (value <= TimeSpan.Zero)
                {
                    throw new ArgumentOutOfRangeException("value", "StaleAfter: expected a time above 0");
                }
                lock (door)
                {
                    limit = value;
                }
            }
        }

        /// <summary>The last message, whatever its age; null before the first.</summary>
        public T Last
        {
            get
            {
                lock (door)
                {
                    return last;
                }
            }
        }

        /// <summary>Whether the last message is older than is allowed.</summary>
        public bool IsStale
        {
            get
            {
                lock (door)
                {
                    return last != null && now() - came > limit;
                }
            }
        }

        /// <summary>The last message; null before the first. Throws StaleException where it is older than is allowed.</summary>
        public T Get()
        {
            lock (door)
            {
                TimeSpan age = now() - came;
                if (last != null && age > limit)
                {
                    throw new StaleException(string.Format(
                        CultureInfo.InvariantCulture,
                        "the newest {0} is {1:0.00} s old, allowed are {2} s: is its sender still up?",
                        what,
                        age.TotalSeconds,
                        limit.TotalSeconds));
                }
                return last;
            }
        }

        /// <summary>
        /// Takes a message that has come now. False, and left out, where it is the last one again or older than that: what is
        /// sent again is no sign of life.
        /// </summary>
        public bool Put(T message)
        {
            lock (door)
            {
                if (isSame && !IsNews(message.Stamp, last.Stamp))
                {
                    return false;
                }
                isSame = true;
                last = message;
                came = now();
                return true;
            }
        }

        /// <summary>Takes whatever comes next for news: its sender, or the way to it, is another one.</summary>
        public void Restart()
        {
            lock (door)
            {
                isSame = false;
            }
        }

        /// <summary>A sender that begins anew counts from 1 again, at a later time by one of its clocks.</summary>
        private static bool IsNews(Stamp stamp, Stamp last)
        {
            return stamp.Sequence == 0
                || stamp.Stream != last.Stream
                || stamp.Sequence > last.Sequence
                || stamp.MonotonicNs > last.MonotonicNs
                || stamp.WallNs > last.WallNs;
        }

        private static Func<TimeSpan> Clock()
        {
            Stopwatch watch = Stopwatch.StartNew();
            return () => watch.Elapsed;
        }
    }

    /// <summary>
    /// The stamps of one sender's topic: numbers from 1, in a stream that no earlier sender of the same name has used (32
    /// random bits, not 0), so that the runtime serves a client that begins anew at once.
    /// </summary>
    public sealed class Numbering
    {
        private ulong sequence;

        /// <summary>Begins a stream of its own.</summary>
        public Numbering()
            : this(NewStream())
        {
        }

        /// <summary>Begins this stream.</summary>
        public Numbering(uint stream)
        {
            if (stream == 0)
            {
                throw new ArgumentOutOfRangeException("stream", "stream: expected 1 to 4294967295, found 0");
            }
            Stream = stream;
        }

        /// <summary>The stream of this episode.</summary>
        public uint Stream { get; private set; }

        /// <summary>The stamp of the next message, made at these times, ns.</summary>
        public Stamp Next(ulong monotonicNs, ulong wallNs = 0)
        {
            sequence++;
            return new Stamp { Sequence = sequence, MonotonicNs = monotonicNs, WallNs = wallNs, Stream = Stream };
        }

        /// <summary>Begins the next episode: a stream of the next number.</summary>
        public void Begin()
        {
            Stream = Stream == uint.MaxValue ? 1 : Stream + 1;
        }

        private static uint NewStream()
        {
            byte[] bytes = new byte[4];
            using (RandomNumberGenerator random = RandomNumberGenerator.Create())
            {
                random.GetBytes(bytes);
            }
            return Math.Max(BitConverter.ToUInt32(bytes, 0), 1);
        }
    }
}
