using System;

namespace Kinestream
{
    /// <summary>One frame of a character: metres, right-handed, Y up, at rest facing +Z.</summary>
    public sealed class Pose : Message
    {
        /// <summary>Number of the frame, rising by one within a stream.</summary>
        public ulong Frame;
        /// <summary>ns on the sender's monotonic clock, when the frame is due.</summary>
        public ulong FrameNs;
        /// <summary>ns between two frames.</summary>
        public ulong PeriodNs = 1;
        /// <summary>Bits: 1 left heel, 2 left toe, 4 right heel, 8 right toe.</summary>
        public uint Contacts;
        /// <summary>Bits: 1 clamped, 2 the last good frame held, 4 idle, 8 performing a clip.</summary>
        public uint Flags;
        /// <summary>Place between the two generated frames around this one, 0 to 1.</summary>
        public float Phase;
        /// <summary>m, x, y, z of joint 0 in the world.</summary>
        public double[] RootPosition = new double[3];
        /// <summary>m/s.</summary>
        public float[] RootVelocity = new float[3];
        /// <summary>rad/s about Y, positive from +Z towards +X.</summary>
        public float YawRate;
        /// <summary>x, y, z, w of every joint's rotation against its parent's; joint 0's against the world's.</summary>
        public float[] Rotations = new float[0];

        /// <summary>Number of joints.</summary>
        public int Joints { get { return Rotations.Length / 4; } }

        /// <summary>More was asked for than the motion holds.</summary>
        public bool IsClamped { get { return (Flags & 1) != 0; } }

        /// <summary>Nothing is asked for.</summary>
        public bool IsIdle { get { return (Flags & 4) != 0; } }

        /// <summary>A clip is performed; steering waits.</summary>
        public bool IsActing { get { return (Flags & 8) != 0; } }

        internal override ushort Kind { get { return 6; } }

        internal override void Pass(Fields fields)
        {
            fields.U64(ref Frame);
            fields.U64(ref FrameNs);
            fields.U64(ref PeriodNs);
            Fields.InRange("period_ns", PeriodNs, 1, ulong.MaxValue);
            int joints = fields.Count("joints", Joints, 1024);
            fields.U32(ref Contacts);
            fields.U32(ref Flags);
            fields.AnyF32(ref Phase);
            Fields.InRange("phase", Phase, 0.0, 1.0);
            fields.F64Array("root_position", ref RootPosition, 3);
            fields.F32Array("root_velocity", ref RootVelocity, 3);
            fields.F32("yaw_rate", ref YawRate);
            fields.F32Array("rotations", ref Rotations, 4 * joints);
            for (int joint = 0; joint < joints; joint++)
            {
                double square = 0.0;
                for (int part = 0; part < 4; part++)
                {
                    double number = Rotations[4 * joint + part];
                    square += number * number;
                }
                double length = Math.Sqrt(square);
                if (!(Math.Abs(length - 1.0) <= 1e-3))
                {
                    throw new WireException(
                        "rotations[" + joint + "]: expected a quaternion of unit length, found length " + Fields.Text(length));
                }
            }
        }
    }

    /// <summary>How a character is steered.</summary>
    public enum ControlMode : uint
    {
        Stick = 0,
        Path = 1,
    }

    /// <summary>Where a character is to be, and when.</summary>
    public struct PathPoint
    {
        /// <summary>s after the message arrives; rising from point to point.</summary>
        public float TimeS;
        /// <summary>m.</summary>
        public float X;
        /// <summary>m.</summary>
        public float Z;
        /// <summary>rad about Y, 0 is +Z; NaN: along the path.</summary>
        public float Facing;
    }

    /// <summary>What a character is asked to do; counts until the next one. Over zenoh: the WebSocket steers by text.</summary>
    public sealed class Control : Message
    {
        public ControlMode Mode;
        /// <summary>m/s, x and z in the world.</summary>
        public float[] Velocity = new float[2];
        /// <summary>x and z of the direction to look in, of any length; 0, 0: where it moves.</summary>
        public float[] Facing = new float[2];
        /// <summary>How freely the motion varies: 0 the likeliest, 1 as tuned.</summary>
        public float Diversity = 1.0f;
        /// <summary>How strongly the control bends the motion: 0 not at all, 1 as tuned.</summary>
        public float Strength = 1.0f;
        /// <summary>For Path 1 to 256, for Stick none.</summary>
        public PathPoint[] Points = new PathPoint[0];

        internal override ushort Kind { get { return 7; } }

        internal override void Pass(Fields fields)
        {
            uint mode = (uint)Mode;
            fields.U32(ref mode);
            if (!Enum.IsDefined(typeof(ControlMode), mode))
            {
                throw new WireException("mode: found the unknown code " + mode);
            }
            Mode = (ControlMode)mode;
            fields.F32Array("velocity", ref Velocity, 2);
            fields.F32Array("facing", ref Facing, 2);
            Knob(fields, "diversity", ref Diversity);
            Knob(fields, "strength", ref Strength);
            uint count = (uint)Points.Length;
            fields.U32(ref count);
            if (Mode == ControlMode.Path)
            {
                Fields.InRange("points", count, 1, 256);
            }
            else
            {
                Fields.Size("points", 0, count);
            }
            if (Points.Length != count)
            {
                Points = new PathPoint[count];
            }
            float before = float.NegativeInfinity;
            for (int i = 0; i < Points.Length; i++)
            {
                fields.F32("time_s", ref Points[i].TimeS);
                fields.F32("x", ref Points[i].X);
                fields.F32("z", ref Points[i].Z);
                fields.AnyF32(ref Points[i].Facing);
                if (float.IsInfinity(Points[i].Facing))
                {
                    Fields.Finite("points[" + i + "].facing", Points[i].Facing);
                }
                if (Points[i].TimeS < 0.0f || Points[i].TimeS <= before)
                {
                    throw new WireException(
                        "time_s: expected times of at least 0 that rise, found " + Fields.Text(Points[i].TimeS));
                }
                before = Points[i].TimeS;
            }
        }

        private static void Knob(Fields fields, string name, ref float value)
        {
            fields.F32(name, ref value);
            Fields.InRange(name, value, 0.0, float.MaxValue);
        }
    }
}
