using System;

namespace Kinestream
{
    /// <summary>A named vector of a sensor.</summary>
    public sealed class Observation : Message
    {
        /// <summary>As in the key obs/NAME, 1 to 32 bytes.</summary>
        public string Name = "";
        /// <summary>Whether values travel as f64, else as f32.</summary>
        public bool IsDouble = true;
        /// <summary>1 to 65536 numbers; NaN and infinities may occur.</summary>
        public double[] Values = new double[0];

        internal override ushort Kind { get { return 1; } }

        internal override void Pass(Fields fields)
        {
            int dims = fields.Count("dims", Values.Length, 65536);
            ushort element = (ushort)(IsDouble ? 2 : 1);
            fields.U16(ref element);
            if (element != 1 && element != 2)
            {
                throw new WireException("element: expected 1 (f32) or 2 (f64), found " + element);
            }
            IsDouble = element == 2;
            fields.Reserved(2);
            fields.Name(ref Name, 32);
            fields.Values(ref Values, dims, IsDouble);
        }
    }

    /// <summary>What the bytes of a picture are.</summary>
    public enum ImageEncoding
    {
        /// <summary>Red, green, blue, a byte each.</summary>
        Rgb8 = 1,
        /// <summary>Blue, green, red, a byte each.</summary>
        Bgr8 = 2,
        /// <summary>A byte a pixel.</summary>
        Mono8 = 3,
        /// <summary>A JPEG file.</summary>
        Jpeg = 4,
    }

    /// <summary>A picture of a camera.</summary>
    public sealed class Image : Message
    {
        /// <summary>Longest picture in bytes.</summary>
        public const int MaxDataBytes = 16 << 20;
        /// <summary>As in the key obs/NAME, 1 to 32 bytes.</summary>
        public string Name = "";
        /// <summary>Columns; with Height 0 where a JPEG file says it.</summary>
        public uint Width;
        /// <summary>Rows.</summary>
        public uint Height;
        /// <summary>What Data is.</summary>
        public ImageEncoding Encoding = ImageEncoding.Rgb8;
        /// <summary>Row by row from the top left without gaps, or the file.</summary>
        public byte[] Data = new byte[0];

        internal override ushort Kind { get { return 8; } }

        internal override void Pass(Fields fields)
        {
            fields.U32(ref Width);
            fields.U32(ref Height);
            uint code = (uint)Encoding;
            fields.U32(ref code);
            if (code < 1 || code > 4)
            {
                throw new WireException("encoding: found the unknown code " + code);
            }
            Encoding = (ImageEncoding)code;
            int length = fields.Count("data", Data.Length, MaxDataBytes);
            bool isFile = Encoding == ImageEncoding.Jpeg;
            if (!isFile || Width != 0 || Height != 0)
            {
                Fields.InRange("width", Width, 1, 16384);
                Fields.InRange("height", Height, 1, 16384);
            }
            if (!isFile)
            {
                double bytes = (double)Width * Height * (Encoding == ImageEncoding.Mono8 ? 1 : 3);
                Fields.InRange("data", length, bytes, bytes);
            }
            fields.Name(ref Name, 32);
            fields.Bytes(ref Data, length);
        }
    }

    /// <summary>The command for one period of the control loop.</summary>
    public sealed class Action : Message
    {
        /// <summary>Id of the plan that it was read from.</summary>
        public ulong Chunk;
        /// <summary>Where in that plan, in its periods.</summary>
        public double Position;
        /// <summary>Noise level of the plan there, 0 (clean) to 1.</summary>
        public float Noise;
        /// <summary>Bits: 1 limited, 2 holding the last command, 4 coming to rest.</summary>
        public uint Flags;
        /// <summary>Whether the plan asked for more than the limits allow.</summary>
        public bool IsLimited { get { return (Flags & 1) != 0; } }
        /// <summary>Whether no fresh plan is behind it: the runtime comes to rest, or is at rest, until there is one.</summary>
        public bool IsHolding { get { return (Flags & 2) != 0; } }
        /// <summary>Whether the runtime has stopped, and stays so until somebody re-arms it: nothing moves any more.</summary>
        public bool IsStopping { get { return (Flags & 4) != 0; } }
        /// <summary>1 to 65536 numbers in the action's units.</summary>
        public float[] Values = new float[0];

        internal override ushort Kind { get { return 2; } }

        internal override void Pass(Fields fields)
        {
            fields.U64(ref Chunk);
            fields.F64("position", ref Position);
            fields.AnyF32(ref Noise);
            Fields.InRange("noise", Noise, 0.0, 1.0);
            fields.U32(ref Flags);
            int dims = fields.Count("dims", Values.Length, 65536);
            fields.Reserved(4);
            fields.F32Array("values", ref Values, dims);
        }
    }

    /// <summary>A partially denoised trajectory.</summary>
    public sealed class Plan : Message
    {
        /// <summary>Id of the plan, rising by one.</summary>
        public ulong Chunk;
        /// <summary>Sequence of the observation that it answers; 0: none.</summary>
        public ulong ObservationSequence;
        /// <summary>ns on the sender's monotonic clock, when the first action is due.</summary>
        public ulong FirstActionNs;
        /// <summary>ns between two actions.</summary>
        public ulong PeriodNs = 1;
        /// <summary>Numbers per action.</summary>
        public uint Dims;
        /// <summary>Leading positions that will not change any more.</summary>
        public uint Committed;
        /// <summary>Levels of the noise ladder.</summary>
        public uint Levels = 1;
        /// <summary>Noise level per position, 0 (clean) to 1.</summary>
        public float[] Noise = new float[0];
        /// <summary>Denoising steps to go per position.</summary>
        public uint[] Level = new uint[0];
        /// <summary>Position by position, Dims numbers each.</summary>
        public float[] Actions = new float[0];

        /// <summary>Number of positions.</summary>
        public int Horizon { get { return Noise.Length; } }

        internal override ushort Kind { get { return 3; } }

        internal override void Pass(Fields fields)
        {
            fields.U64(ref Chunk);
            fields.U64(ref ObservationSequence);
            fields.U64(ref FirstActionNs);
            fields.U64(ref PeriodNs);
            Fields.InRange("period_ns", PeriodNs, 1, ulong.MaxValue);
            int horizon = fields.Count("horizon", Noise.Length, 4096);
            fields.U32(ref Dims);
            Fields.InRange("dims", Dims, 1, 65536);
            Fields.InRange("horizon * dims", (double)horizon * Dims, 1, 65536);
            fields.U32(ref Committed);
            Fields.InRange("committed", Committed, 0, horizon);
            fields.U32(ref Levels);
            Fields.InRange("levels", Levels, 1, uint.MaxValue);
            fields.F32Array("noise", ref Noise, horizon);
            fields.U32Array(ref Level, horizon);
            for (int i = 0; i < horizon; i++)
            {
                Fields.InRange("noise", Noise[i], 0.0, 1.0);
                Fields.InRange("level", Level[i], 0, Levels);
            }
            fields.F32Array("actions", ref Actions, horizon * (int)Dims);
        }
    }

    /// <summary>What a node is doing.</summary>
    public enum RunState : uint
    {
        Starting = 0,
        Waiting = 1,
        Running = 2,
        Paused = 3,
        Holding = 4,
        Stopped = 5,
        Fault = 6,
    }

    /// <summary>Counters since a node started, and its state. NaN where a number is not known.</summary>
    public sealed class Status : Message
    {
        public ulong Observations;
        public ulong Plans;
        public ulong Actions;
        public ulong Missed;
        public ulong Malformed;
        /// <summary>µs from observation to plan, median.</summary>
        public double LatencyP50Us = double.NaN;
        /// <summary>µs, 99th percentile.</summary>
        public double LatencyP99Us = double.NaN;
        /// <summary>Best of this stream, 0 to 1.</summary>
        public double Score = double.NaN;
        /// <summary>Of the goal now, 0 to 1.</summary>
        public double Coverage = double.NaN;
        public RunState State;

        internal override ushort Kind { get { return 4; } }

        internal override void Pass(Fields fields)
        {
            fields.U64(ref Observations);
            fields.U64(ref Plans);
            fields.U64(ref Actions);
            fields.U64(ref Missed);
            fields.U64(ref Malformed);
            Known(fields, "latency_p50_us", ref LatencyP50Us);
            Known(fields, "latency_p99_us", ref LatencyP99Us);
            Known(fields, "score", ref Score);
            Known(fields, "coverage", ref Coverage);
            uint state = (uint)State;
            fields.U32(ref state);
            if (!Enum.IsDefined(typeof(RunState), state))
            {
                throw new WireException("state: found the unknown code " + state);
            }
            State = (RunState)state;
            fields.Reserved(4);
        }

        private static void Known(Fields fields, string name, ref double value)
        {
            fields.AnyF64(ref value);
            if (double.IsInfinity(value))
            {
                throw new WireException(name + ": expected a finite number or NaN, found " + Fields.Text(value));
            }
        }
    }

    /// <summary>What a Command asks for; its key is cmd/ and the name in small letters with underscores.</summary>
    public enum Request : uint
    {
        Reset = 1,
        Pause = 2,
        Resume = 3,
        Stop = 4,
        MoveBlock = 5,
        MoveAgent = 6,
        ReleaseAgent = 7,
    }

    /// <summary>A request.</summary>
    public sealed class Command : Message
    {
        public Request Request = Request.Reset;
        /// <summary>For Reset.</summary>
        public ulong Seed;
        /// <summary>For the two moves, scene units.</summary>
        public double X;
        public double Y;
        /// <summary>rad, for MoveBlock.</summary>
        public double Angle;

        internal override ushort Kind { get { return 5; } }

        internal override void Pass(Fields fields)
        {
            uint request = (uint)Request;
            fields.U32(ref request);
            if (!Enum.IsDefined(typeof(Request), request))
            {
                throw new WireException("request: found the unknown code " + request);
            }
            Request = (Request)request;
            fields.Reserved(4);
            fields.U64(ref Seed);
            fields.F64("x", ref X);
            fields.F64("y", ref Y);
            fields.F64("angle", ref Angle);
        }
    }
}
